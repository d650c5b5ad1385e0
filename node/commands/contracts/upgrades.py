"""`wattledger contract diff|upgrade`: another source at the same address, on the same storage."""

import difflib
from pathlib import Path
from typing import Any

import click

from ledger.contract.compile import compile_contract
from ledger.contract.interface import describe_abi
from ledger.contract.layout_change import layout_difference
from ledger.contract.upgrade import ABI, UPGRADES
from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data
from node.abi_text import decode_error
from node.client import Client, RpcError
from node.commands.common import (
    ADDRESS,
    connect,
    json_option,
    keystore_option,
    password_option,
    print_json,
    rpc_option,
    say,
    send_transaction,
)
from node.commands.contracts.calls import SENDER_HELP, check_stands
from node.commands.contracts.sources import compile_model
from node.errors import NodeError

DIFFERENT = 1  # exit code where storage would be misread, as diff(1) has it


def get_source(client: Client, address: bytes) -> bytes:
    """The source that stands at an address. Raises NodeError where there is none."""
    check_stands(client, address)
    return decode_data(client.call("eth_getCode", encode_data(address), "latest"))


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("path")
@rpc_option
def diff(address: bytes, path: str, rpc: str) -> None:
    """Show how PATH differs from the source at ADDRESS, and whether it could replace it.

    The exit code is 1 where the new source would misread the storage of the old one.

    \b
    Example:
      wattledger contract diff 0x5FbD...0aa3 jar.py
    """
    old = get_source(connect(rpc), address)
    new, model = compile_model(path)
    lines = difflib.unified_diff(
        old.decode("ascii").splitlines(), new.decode("ascii").splitlines(),
        to_checksum(address), path, lineterm="",
    )  # fmt: skip
    for line in lines:
        say(line)
    if old == new:
        say("the same source")
        return
    differences = layout_difference(compile_contract(old).model, model)
    for difference in differences:
        say(f"storage: {difference}")
    if differences:
        say("it cannot replace what stands there: storage would be misread")
        raise SystemExit(DIFFERENT)
    say("storage: every field is read as before; it may replace what stands there")


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("path")
@click.option("--from", "sender", type=ADDRESS, required=True, help=SENDER_HELP)
@keystore_option
@password_option
@rpc_option
@json_option
def upgrade(
    address: bytes,
    path: str,
    sender: bytes,
    keystore: Path,
    password_file: Path | None,
    rpc: str,
    as_json: bool,
) -> None:
    """Replace the source at ADDRESS by PATH; storage stays, `migrate` of the new one runs once.

    Voters of the network approve it before (wattledger network propose upgrade ADDRESS PATH), or,
    where the network lets owners upgrade, its owner sends it.

    \b
    Example:
      wattledger contract upgrade 0x5FbD...0aa3 jar.py --from 0xf39F...2266
    """
    client = connect(rpc)
    old = get_source(client, address)
    new, model = compile_model(path)
    if old == new:
        raise NodeError(f"{path} is the source that stands there already")
    differences = layout_difference(compile_contract(old).model, model)
    if differences:
        raise NodeError(f"{path} would misread the storage: {'; '.join(differences)}")
    data = abi.encode_call("upgrade(address,bytes)", (address, new))
    try:
        receipt = send_transaction(client, sender, keystore, password_file, to=UPGRADES, data=data)
    except RpcError as error:
        raise explain_upgrade(error, address, path, describe_abi(model)) from error
    if decode_quantity(receipt["status"]) != 1:
        raise NodeError(f"the upgrade reverted in {receipt['transactionHash']}")
    if as_json:
        print_json(receipt)
        return
    say(
        f"{model.name} at {to_checksum(address)} runs {path} from block "
        f"{decode_quantity(receipt['blockNumber'])} on, gas {decode_quantity(receipt['gasUsed']):,}"
    )


def explain_upgrade(
    error: RpcError, address: bytes, path: str, entries: list[dict[str, Any]]
) -> Exception:
    """Why it was refused: by the chain, or by the new source's own `migrate`."""
    text = decode_error([*ABI, *entries], error.data) if error.data else None
    if text is None:
        return error
    if text.startswith("NotAllowed"):
        at = to_checksum(address)
        text += (
            "; the network approves an upgrade by: "
            f"wattledger network propose upgrade {at} {path} --from ADMINISTRATOR"
        )
    return NodeError(f"the upgrade was refused: {text}")
