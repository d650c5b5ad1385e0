"""`wattledger contract deploy|call|send`: a contract on a chain, by its ABI."""

import json
import re
from pathlib import Path
from typing import Any

import click

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data
from node.abi_text import (
    abi_type,
    decode_error,
    encode_arguments,
    find_entry,
    render_value,
    signature,
)
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
from node.commands.contracts.sources import compile_artifact, read_abi
from node.errors import NodeError

SENDER_HELP = "Account that sends: one with a key file, or a devnet's unlocked one."
REVERTED = 3  # geth's code of a call that reverted
NEGATIVE = re.compile(r"-\d\w*")


class NumbersCommand(click.Command):
    """A command whose ARGUMENTS may be negative numbers, which click would take for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [" " + a if NEGATIVE.fullmatch(a) else a for a in args])


def unshield(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """The arguments as they were typed, without the space that `NumbersCommand` put before them."""
    return tuple(a[1:] if a[:1] == " " and NEGATIVE.fullmatch(a[1:]) else a for a in values)


@click.command(cls=NumbersCommand)
@click.argument("path")
@click.argument("arguments", nargs=-1, callback=unshield)
@click.option("--from", "sender", type=ADDRESS, required=True, help=SENDER_HELP)
@keystore_option
@password_option
@rpc_option
@json_option
def deploy(
    path: str,
    arguments: tuple[str, ...],
    sender: bytes,
    keystore: Path,
    password_file: Path | None,
    rpc: str,
    as_json: bool,
) -> None:
    """Deploy a contract with its constructor's ARGUMENTS.

    \b
    Example:
      wattledger contract deploy el_dapp "Grid Co-op" "Our street" --from 0xf39F...2266
    """
    artifact = compile_artifact(path)
    constructor = [entry for entry in artifact["abi"] if entry["type"] == "constructor"]
    inputs = constructor[0]["inputs"] if constructor else []
    data = decode_data(artifact["bytecode"]) + encode_arguments("constructor", inputs, arguments)
    try:
        receipt = send_transaction(
            connect(rpc), sender, keystore, password_file, to=None, data=data
        )
    except RpcError as error:
        raise explained(artifact["abi"], error) from error
    if decode_quantity(receipt["status"]) != 1:
        raise NodeError(f"the constructor of {artifact['contractName']} reverted")
    address = to_checksum(decode_data(receipt["contractAddress"]))
    gas = decode_quantity(receipt["gasUsed"])
    if as_json:
        print_json({"address": address, "transactionHash": receipt["transactionHash"], "gas": gas})
        return
    block = decode_quantity(receipt["blockNumber"])
    say(f"{artifact['contractName']} at {address}, block {block}, gas {gas:,}")


@click.command(cls=NumbersCommand)
@click.argument("address", type=ADDRESS)
@click.argument("path")
@click.argument("method")
@click.argument("arguments", nargs=-1, callback=unshield)
@rpc_option
@json_option
def call(
    address: bytes, path: str, method: str, arguments: tuple[str, ...], rpc: str, as_json: bool
) -> None:
    """Call a view METHOD of the contract at ADDRESS; PATH (source or artifact) gives its ABI.

    \b
    Example:
      wattledger contract call 0x5FbD...0aa3 el_dapp getUsage 0x7099...79C8
    """
    entries = read_abi(path)
    entry = find_entry(entries, method)
    data = abi.selector(signature(entry)) + encode_arguments(method, entry["inputs"], arguments)
    client = connect(rpc)
    try:
        result = client.call_contract(address, data)
    except RpcError as error:
        raise explained(entries, error) from error
    if not result:
        check_stands(client, address)
    values = abi.decode([abi_type(output) for output in entry["outputs"]], result)
    rendered = [
        render_value(output, value) for output, value in zip(entry["outputs"], values, strict=True)
    ]
    if as_json:
        print_json(rendered[0] if len(rendered) == 1 else rendered)
        return
    for value in rendered:
        say(value if isinstance(value, str) else json.dumps(value))
    if not reads_only(entry):
        click.echo(
            f"{method} writes: this only tried it and changed nothing; "
            "to do it: wattledger contract send",
            err=True,
        )


@click.command(cls=NumbersCommand)
@click.argument("address", type=ADDRESS)
@click.argument("path")
@click.argument("method")
@click.argument("arguments", nargs=-1, callback=unshield)
@click.option("--from", "sender", type=ADDRESS, required=True, help=SENDER_HELP)
@click.option(
    "--value", type=click.IntRange(0), default=0, help="Native coin to send along, in wei."
)
@keystore_option
@password_option
@rpc_option
@json_option
def send(
    address: bytes,
    path: str,
    method: str,
    arguments: tuple[str, ...],
    sender: bytes,
    value: int,
    keystore: Path,
    password_file: Path | None,
    rpc: str,
    as_json: bool,
) -> None:
    """Send a transaction to a METHOD that writes, and wait for its block.

    \b
    Example:
      wattledger contract send 0x5FbD...0aa3 el_dapp addUser 0x7099...79C8 --from 0xf39F...2266
    """
    entries = read_abi(path)
    entry = find_entry(entries, method)
    data = abi.selector(signature(entry)) + encode_arguments(method, entry["inputs"], arguments)
    client = connect(rpc)
    check_stands(client, address)
    try:
        receipt = send_transaction(
            client, sender, keystore, password_file, to=address, data=data, value=value
        )
    except RpcError as error:
        raise explained(entries, error) from error
    if decode_quantity(receipt["status"]) != 1:
        raise NodeError(f"{method} reverted in {receipt['transactionHash']}")
    if as_json:
        print_json(receipt)
        return
    say(
        f"{method}: block {decode_quantity(receipt['blockNumber'])}, "
        f"gas {decode_quantity(receipt['gasUsed']):,}, {receipt['transactionHash']}"
    )
    if reads_only(entry):
        click.echo(f"{method} only reads; its answer: wattledger contract call", err=True)


def reads_only(entry: dict[str, Any]) -> bool:
    """Whether a method changes nothing, by its ABI."""
    return entry.get("stateMutability") in ("view", "pure")


def check_stands(client: Client, address: bytes) -> None:
    """Raises NodeError where there is no code: there, as in Ethereum, a call just succeeds."""
    if client.call("eth_getCode", encode_data(address), "latest") == "0x":
        raise NodeError(f"{client.url} has no contract at {to_checksum(address)}")


def explained(entries: list[dict[str, Any]], error: RpcError) -> Exception:
    """The contract's own error in words, where the node gave its data."""
    text = decode_error(entries, error.data) if error.data else None
    if text is None and error.code == REVERTED and not error.data:
        text = "no reason given; is it of this PATH, has it this method, may it take coins?"
    return NodeError(f"the contract refused: {text}") if text else error
