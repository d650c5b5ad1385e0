"""`wattledger network propose|vote|rotate|members|override`: who is a member; changes by vote."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ledger.crypto.address import address_of, to_checksum
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data
from ledger.errors import LedgerError
from ledger.genesis import NETWORK_CONTRACT
from node.abi_text import encode_arguments, find_entry, signature
from node.client import Client, RpcError
from node.commands.common import (
    ADDRESS,
    connect,
    console,
    json_option,
    keystore_option,
    make_table,
    password_option,
    print_json,
    rpc_option,
    say,
    send_transaction,
)
from node.commands.contracts import explained, read_source
from node.commands.membership import DAY_S, read_contract, read_members
from node.errors import NodeError
from node.genesis_text import read_genesis
from node.keys import load_node_key
from node.network_files import load_network_file, write_file

# What is typed: (the method, the words after it, their help)
ACTIONS = {
    "add-validator": ("addValidator", "ADDRESS", "becomes a validator once it says it is ready"),
    "remove-validator": ("removeValidator", "ADDRESS", "a validator or candidate no longer"),
    "allow-node": ("setNode", "ADDRESS", "a node that may connect"),
    "remove-node": ("setNode", "ADDRESS", "sent away, and let in no more"),
    "allow-deployer": ("setDeployer", "ADDRESS", "an account that may create contracts"),
    "remove-deployer": ("setDeployer", "ADDRESS", ""),
    "allow-account": ("setAccount", "ADDRESS", "an account that may send transactions"),
    "remove-account": ("setAccount", "ADDRESS", ""),
    "add-administrator": ("setAdministrator", "ADDRESS", ""),
    "remove-administrator": ("setAdministrator", "ADDRESS", ""),
    "anyone-deploys": ("setAnyoneDeploys", "true|false", "whether the list of deployers counts"),
    "accounts-only": ("setAccountsOnly", "true|false", "whether the list of accounts counts"),
    "owners-upgrade": ("setOwnersUpgrade", "true|false", "whether owners upgrade their contracts"),
    "voting": ("setVoting", "WHO VOTES DAYS", "administrators or validators; 0: more than half"),
    "rules": ("scheduleRules", "HEIGHT VERSION", "nodes without that version halt before it"),
    "upgrade": ("upgrade", "ADDRESS SOURCE.py", "the source that may replace a contract's"),
}


@dataclass(frozen=True, slots=True)
class Voter:
    """Who signs: an account with a key file, an unlocked one, or the key in a file."""

    account: bytes | None
    key_file: Path | None
    keystore: Path
    password_file: Path | None

    def load_key(self) -> tuple[bytes, bytes | None]:
        """The address and, where a file has it, the private key. Raises NodeError."""
        if self.key_file is not None:
            private_key = load_node_key(self.key_file, self.password_file)
            return address_of(private_key), private_key
        if self.account is None:
            raise NodeError("say who votes: --from ACCOUNT, or --key-file FILE")
        return self.account, None


def voter_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that make a `voter`, and what asking needs."""

    @wraps(function)
    def command(
        sender: bytes | None,
        key_file: Path | None,
        keystore: Path,
        password_file: Path | None,
        **others: Any,
    ) -> None:
        function(voter=Voter(sender, key_file, keystore, password_file), **others)

    for option in (
        click.option("--from", "sender", type=ADDRESS, help="The voter's account."),
        click.option("--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="Instead of --from: a key, such as administrator.key or node.key."),
        keystore_option,
        password_option,
        rpc_option,
        json_option,
    ):  # fmt: skip
        command = option(command)
    return command


def _list_actions() -> str:
    return "\n".join(
        f"  {name + ' ' + words:<36} {what}".rstrip() for name, (_, words, what) in ACTIONS.items()
    )


@click.command(
    help="Propose a change of members and vote for it; done at once where one vote is enough.\n\n"
    "\b\nActions:\n" + _list_actions() + "\n\n\b\nExample:\n"
    "  wattledger network propose add-validator 0x7099...79C8 --from 0xf39F...2266"
)
@click.argument("action", type=click.Choice(list(ACTIONS)), metavar="ACTION")
@click.argument("words", nargs=-1)
@voter_options
def propose(
    action: str,
    words: tuple[str, ...],
    voter: Voter,
    rpc: str,
    as_json: bool,
) -> None:
    """See ACTIONS, of which its help is made."""
    method, arguments = read_action(action, words)
    client = connect(rpc)
    receipt = send(client, method, arguments, voter)
    tell_outcome(client, receipt, as_json)
    if action == "upgrade" and not as_json:
        say("once it is done, anybody sends the source: wattledger contract upgrade")


@click.command()
@click.argument("number", type=click.IntRange(0))
@click.option("--against", is_flag=True, help="Take an earlier vote for it back.")
@voter_options
def vote(
    number: int,
    against: bool,
    voter: Voter,
    rpc: str,
    as_json: bool,
) -> None:
    """Vote for proposal NUMBER; with the last vote it needs, it is done.

    \b
    Example:
      wattledger network vote 3 --key-file administrator.key
    """
    client = connect(rpc)
    arguments = (str(number), "false" if against else "true")
    receipt = send(client, "vote", arguments, voter)
    tell_outcome(client, receipt, as_json)


@click.command()
@click.argument("key", type=ADDRESS)
@voter_options
def rotate(
    key: bytes,
    voter: Voter,
    rpc: str,
    as_json: bool,
) -> None:
    """Hand the place of a node's own key, --key-file, to the new one with the address KEY.

    \b
    Example:
      wattledger network rotate 0x7099...79C8 --key-file node.key
    """
    client = connect(rpc)
    receipt = send(client, "rotate", (to_checksum(key),), voter)
    if as_json:
        print_json(receipt)
        return
    say(
        f"block {decode_quantity(receipt['blockNumber'])}: start a node with the new key and an "
        "empty data folder. A validator's new key takes the place over once its node follows the "
        "chain; leave the old node running until then, on its own machine or folder."
    )


@click.command()
@rpc_option
@json_option
def members(rpc: str, as_json: bool) -> None:
    """Print who is a member, how votes are counted, and the proposals that wait for votes.

    \b
    Example:
      wattledger network members
    """
    client = connect(rpc)
    found = read_members(client)
    if as_json:
        print_json(found)
        return
    table = make_table("address", "is")
    for member in found["members"]:
        table.add_row(member["address"], ", ".join(member["roles"]) or "nothing any more")
    console.print(table)
    voting = found["voting"]
    say(
        f"{voting['voters']} {voting['who']} vote; a proposal needs {voting['needed']} "
        f"and lives {voting['expiryS'] / DAY_S:g} days"
    )
    say("anyone may deploy contracts" if found["anyoneDeploys"] else "deployers deploy contracts")
    say("only accounts, voters and validators may transact" if found["accountsOnly"]
        else "anyone may transact")  # fmt: skip
    for proposal in found["proposals"]:
        say(f"proposal {proposal['number']}: {proposal['what']}: {proposal['votes']} of "
            f"{voting['needed']} votes, until {proposal['until']}; vote with: "
            f"wattledger network vote {proposal['number']}")  # fmt: skip


@click.command()
@click.option("--network", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help="The network file to write into.")  # fmt: skip
@click.option("--height", type=click.IntRange(1), required=True,
              help="The first block they decide: above the highest head of all.")  # fmt: skip
@click.option("--validator", "validators", type=ADDRESS, multiple=True, required=True,
              help="Who decides from there on; repeat for each.")  # fmt: skip
def override(network: Path, height: int, validators: tuple[bytes, ...]) -> None:
    """Name the validators of a network that has lost its quorum for ever.

    Every node that is left, and everybody who verifies, needs the same network file. Use it only
    when the lost validators will never come back: with their keys they could go on with the old
    chain.

    \b
    Example:
      wattledger network override --network network.json --height 4712 \\
        --validator 0x7099...79C8 --validator 0x3C44...93BC
    """
    # What is wrong with the file is said before anything is changed.
    if load_network_file(network).genesis.consensus == "pow":
        raise NodeError(f"{network} is of a mined network: nobody votes there, there is no quorum")
    values = json.loads(network.read_bytes())
    entry = {"height": height, "validators": [to_checksum(one) for one in validators]}
    values["overrides"] = [*values.get("overrides", []), entry]
    try:
        read_genesis({key: value for key, value in values.items() if key != "peers"})
    except LedgerError as error:
        raise NodeError(str(error)) from error
    write_file(network, json.dumps(values, indent=2) + "\n")
    say(f"{network}: from block {height} on {len(validators)} validators decide:")
    for member in entry["validators"]:  # type: ignore[attr-defined]
        say(f"  {member}")
    say(
        "1. Stop every node that is left. None may hold block "
        f"{height} already: ask each with wattledger node status."
    )
    say("2. Give each of them this very file, and start them again, the one with the highest head")
    say("   first. 3. Give it to everybody who verifies bills.")


# What the commands share.


def read_action(action: str, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The contract's method and its arguments as typed. Raises NodeError."""
    method, expected, _ = ACTIONS[action]
    if len(words) != len(expected.split()):
        raise NodeError(f"{action} takes {expected}")
    if action == "voting":
        who, votes, days = words
        if who not in ("administrators", "validators") or not days.isdecimal():
            raise NodeError(f"{action} takes {expected}, WHO administrators or validators")
        return method, (str(who == "validators").lower(), votes, str(int(days) * DAY_S))
    if action == "upgrade":
        return method, (words[0], encode_data(keccak256(read_source(words[1]))))
    first, _, _ = action.partition("-")
    if method.startswith("set") and expected == "ADDRESS":
        return method, (words[0], "false" if first == "remove" else "true")
    return method, words


def send(client: Client, method: str, arguments: tuple[str, ...], voter: Voter) -> dict[str, Any]:
    """Call a method of the network contract; the receipt. Raises NodeError, ClientError."""
    sender, private_key = voter.load_key()
    entries = read_contract()
    entry = find_entry(entries, method)
    data = abi.selector(signature(entry)) + encode_arguments(method, entry["inputs"], arguments)
    try:
        receipt = send_transaction(
            client, sender, voter.keystore, voter.password_file,
            to=NETWORK_CONTRACT, data=data, private_key=private_key,
        )  # fmt: skip
    except RpcError as error:
        raise explained(entries, error) from error
    if decode_quantity(receipt["status"]) != 1:
        raise NodeError(f"{method} was refused in {receipt['transactionHash']}")
    return receipt


def tell_outcome(client: Client, receipt: dict[str, Any], as_json: bool) -> None:
    """Whether the proposal is done, or how many votes it still needs."""
    voted = abi.topic("Voted(uint256,address,bool,uint16,uint16)")
    done = abi.topic("Done(uint256)")
    topics = {decode_data(log["topics"][0]): log for log in receipt["logs"]}
    log = topics[voted]
    number = int(log["topics"][1], 16)
    _, votes, needed = abi.decode(["bool", "uint16", "uint16"], decode_data(log["data"]))
    block = decode_quantity(receipt["blockNumber"])
    if as_json:
        print_json({"proposal": number, "votes": votes, "needed": needed,
                    "done": done in topics, "block": block})  # fmt: skip
    elif done in topics:
        say(f"proposal {number} is done: it holds from block {block + 1} on")
    else:
        say(f"proposal {number} has {votes} of the {needed} votes it needs; others vote with: "
            f"wattledger network vote {number}")  # fmt: skip
