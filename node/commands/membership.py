"""What the network contract says of members, votes and proposals, asked over JSON-RPC.

As words and values for `members`, which prints them and sends what changes them.
"""

from importlib.resources import files
from typing import Any

from ledger.contract.artifact import build_artifact
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_quantity
from ledger.genesis import NETWORK_CONTRACT
from node.abi_text import abi_type, encode_arguments, find_entry, render_value, signature
from node.client import Client

DAY_S = 86_400
MEMBERS_PER_CALL = 200
PROPOSALS_SHOWN = 20
ROLES = ("validator", "candidate", "node", "deployer", "account", "administrator")
# Numbers of actions in the contract, and the words for them.
FLAGS = {7: "anyone-deploys", 8: "accounts-only", 12: "owners-upgrade"}
NAMES = {3: "node", 4: "deployer", 5: "account", 6: "administrator"}


def read_contract() -> list[dict[str, Any]]:
    """The ABI of the network contract of this version."""
    source = files("contracts_py").joinpath("network.py").read_bytes()
    entries: list[dict[str, Any]] = build_artifact(source)["abi"]
    return entries


def ask(client: Client, entries: list[dict[str, Any]], method: str, *arguments: object) -> Any:
    """A view of the network contract; one result as itself, several as a list."""
    entry = find_entry(entries, method)
    data = abi.selector(signature(entry))
    data += encode_arguments(method, entry["inputs"], [str(one) for one in arguments])
    answer = client.call_contract(NETWORK_CONTRACT, data)
    values = abi.decode([abi_type(one) for one in entry["outputs"]], answer)
    shown = [render_value(*pair) for pair in zip(entry["outputs"], values, strict=True)]
    return shown if len(shown) > 1 else shown[0]


def read_members(client: Client) -> dict[str, Any]:
    """What `network members` prints, as JSON."""
    entries = read_contract()
    found: list[dict[str, Any]] = []
    while True:
        accounts, roles = ask(client, entries, "members", len(found), MEMBERS_PER_CALL)
        found += [
            {"address": who, "roles": [name for bit, name in enumerate(ROLES) if role >> bit & 1]}
            for who, role in zip(accounts, roles, strict=True)
        ]
        if len(accounts) < MEMBERS_PER_CALL:
            break
    validators_vote, votes_set, voters, needed, expiry_s = ask(client, entries, "voting")
    return {
        "members": found,
        "voting": {
            "who": "validators" if validators_vote else "administrators",
            "voters": voters,
            "votesSet": votes_set,
            "needed": needed,
            "expiryS": expiry_s,
        },
        "anyoneDeploys": ask(client, entries, "anyoneDeploys"),
        "accountsOnly": ask(client, entries, "accountsOnly"),
        "proposals": read_proposals(client, entries),
    }


def read_proposals(client: Client, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest proposals that wait for votes."""
    from node.billing.render import format_time

    now = decode_quantity(client.call("eth_getBlockByNumber", "latest", False)["timestamp"])
    count = ask(client, entries, "proposalCount")
    waiting = []
    for number in range(max(0, count - PROPOSALS_SHOWN), count):
        proposal, votes = ask(client, entries, "proposal", number)
        if not proposal["done"] and proposal["expires"] >= now:
            until = f"{format_time(proposal['expires'])} UTC"
            waiting.append(
                {"number": number, "votes": votes, "until": until, "what": describe(proposal)}
            )
    return waiting


def describe(proposal: dict[str, Any]) -> str:
    """What a proposal would do, as `propose` takes it."""
    action, subject, number = proposal["action"], proposal["subject"], proposal["number"]
    if action in (1, 2):
        return f"{'add' if action == 1 else 'remove'}-validator {subject}"
    if action in NAMES:
        verb = "remove" if not number else "add" if action == 6 else "allow"
        return f"{verb}-{NAMES[action]} {subject}"
    if action in FLAGS:
        return f"{FLAGS[action]} {str(bool(number)).lower()}"
    if action == 9:
        who = "validators" if number % 2 else "administrators"
        return f"voting {who} {number // 2} {proposal['other'] // DAY_S}"
    if action == 10:
        return f"rules {number} {proposal['other']}"
    return f"upgrade {subject} to the source with keccak256 {proposal['digest']}"
