"""`wattledger verify bill`: a bill proved from the network file, whatever the node says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import click

from ledger.crypto.address import to_checksum
from ledger.encoding.hexadecimal import decode_data
from ledger.errors import ProofError
from node.billing.bill import Bill, compute_bill
from node.billing.month import parse_month, read_month
from node.billing.render import (
    bill_json,
    bill_notes,
    bill_table,
    format_money,
    format_time,
    plural,
)
from node.billing.sources import (
    FollowedChain,
    ProvenWords,
    follow_chain,
    make_layout,
    prove_contract,
)
from node.client import Client
from node.commands.bills import check_is_metering
from node.commands.common import (
    ADDRESS,
    connect,
    console,
    json_option,
    month_option,
    print_json,
    rpc_option,
    say,
)
from node.errors import NodeError
from node.network_files import load_network_file


@click.group()
def verify() -> None:
    """Prove what a node says, without trusting it."""


@verify.command("bill")
@click.option("--network", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help="The network file: all that is trusted.")  # fmt: skip
@click.option("--contract", type=ADDRESS, required=True, help="The grid's Metering contract.")
@click.option("--account", type=ADDRESS, required=True, help="Whose bill.")
@month_option
@click.option("--code-hash", metavar="HASH",
              help="Accept a contract with this hash too: an older metering.py, say.")  # fmt: skip
@rpc_option
@json_option
def verify_bill(
    network: Path,
    contract: bytes,
    account: bytes,
    month: str,
    code_hash: str | None,
    rpc: str,
    as_json: bool,
) -> None:
    """Prove a month's bill from certified headers and Merkle proofs, and price it again.

    \b
    Example:
      wattledger verify bill --network network.json --contract 0x5FbD...0aa3 \\
        --account 0x7099...79C8 --month 2026-11
    """
    client = connect(rpc)
    genesis = load_network_file(network).genesis
    with answers_of(client):
        followed = follow_chain(client, genesis)
    accepted = decode_data(code_hash, 32) if code_hash else None
    proved, words, standard = prove_bill(client, followed, contract, account, month, accepted)
    if as_json:
        print_json(
            {
                **bill_json(proved),
                "proved": {
                    "block": followed.header.number,
                    "blockHash": "0x" + followed.header.hash.hex(),
                    "ageSeconds": followed.age_s,
                    "storageProofs": words.proofs_checked,
                    "final": followed.work is None,
                    "work": None if followed.work is None else asdict(followed.work),
                    "signatures": len(followed.certificate.signatures),
                    "validators": len(followed.validators),
                    "standardContract": standard,
                },
            }
        )
        return
    console.print(bill_table(proved))
    for note in bill_notes(proved):
        say(f"- {note}", soft_wrap=False)
    for line in explain_proof(proved, followed, words, contract, standard):
        console.print(line, highlight=False)


@contextmanager
def answers_of(client: Client, what: str = "") -> Iterator[None]:
    """Name what was false in a node's answers: a proof, or their very shape. Raises ProofError."""
    try:
        yield
    except ProofError as error:
        if not what:
            raise
        raise ProofError(f"{client.url} gave a false proof {what}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ProofError(f"{client.url} does not answer as a node does: {error!r}") from error


def prove_bill(
    client: Client,
    followed: FollowedChain,
    contract: bytes,
    account: bytes,
    month: str,
    accepted: bytes | None = None,
) -> tuple[Bill, ProvenWords, bool]:
    """The bill from proved words, and whether the contract is the standard one of this version.

    `accepted` is the hash of a source that is taken as well as the standard one. Raises ProofError
    for a false proof, BillMismatch where the contract's total is not its
    readings'.
    """
    address = to_checksum(contract)
    with answers_of(client, f"of {address} in block {followed.header.number}"):
        state, source = prove_contract(client, followed, contract)
    standard = source == resources.files("contracts_py").joinpath("metering.py").read_bytes()
    if not standard and state.code_hash != accepted:
        raise NodeError(
            f"proved: {address} holds another contract than the metering.py of this "
            "version. Where you know its source and trust it to keep the same rules, say so with "
            f"--code-hash 0x{state.code_hash.hex()}"
        )
    layout = make_layout(source, contract)
    check_is_metering(layout, contract)
    words = ProvenWords(client, contract, followed.header, state)
    with answers_of(client, f"of the storage of {address} in block {followed.header.number}"):
        found = read_month(layout, words, account, parse_month(month))
    return compute_bill(found), words, standard


def explain_proof(
    bill: Bill, followed: FollowedChain, words: ProvenWords, contract: bytes, standard: bool
) -> list[str]:
    """What was proved, as of when, and what was not, in plain words."""
    return [
        "[bold green]Proved[/bold green]",
        *_explain_block(followed),
        f"  in that block {to_checksum(contract)} holds "
        + ("the metering contract of this version;" if standard else "the contract you accepted;"),
        f"  {words.proofs_checked:,} storage proofs give the readings, corrections and tariffs, "
        "and that no other reading of this month is there;",
        f"  priced again here they come to {format_money(bill.statement.total)}, which is what the "
        "contract has;",
        *(
            f"  frozen statement {one.number} is what the first {one.statement.entries} of them "
            "come to, and its hash is that of its words;"
            for one in bill.month.frozen
        ),
        "[bold]Not proved[/bold]",
        "  that the meters measured right, or that nothing was used while a reading is missing;",
        "  that no newer block exists: ask several nodes, and compare the block's number and age.",
        *(
            ["  that this block stays: on a mined chain a branch with more work may replace it."]
            if followed.work
            else []
        ),
    ]


def _explain_block(followed: FollowedChain) -> list[str]:
    """Why the block is believed: who signed it, or how much work it shows."""
    header, work = followed.header, followed.work
    block = (
        f"block {header.number} (0x{header.hash.hex()[:16]}...), made at "
        f"{format_time(header.timestamp)} UTC, {followed.age_s} s ago"
    )
    if work is not None:
        hashes = work.difficulty * work.on_top
        return [
            f"  {block}, follows from the network file's genesis over {header.number} sealed "
            "headers;",
            f"  {work.on_top} more stand on it, each {work.difficulty:,} hashes of work on "
            f"average: {hashes:,} to replace it;",
        ]
    return [
        f"  {len(followed.certificate.signatures)} of {len(followed.validators)} validators signed "
        f"{block};",
        f"  they follow from the network file over "
        f"{len(followed.changes)} {plural('change', followed.changes)} of validators;",
        *(
            f"  from block {height} on they are those of the override in the network file;"
            for height in followed.overrides
        ),
    ]
