"""One more node for a network that runs: its key, signer record, certificate and settings.

The key is made here and has signed nothing; the record that says so is made with it. Not here: the
files of a whole network (`network_files`), making the node a member (`commands.members`).
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from ledger.crypto.address import address_of, to_checksum
from node.errors import NodeError
from node.network_files import (
    KEY_BYTES,
    NETWORK_FILE,
    Member,
    create_member,
    load_network_file,
    write_file,
    write_node_settings,
)


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node made, and the entry for "peers" by which others may dial it."""

    member: Member
    entry: dict[str, str | int]


def create_node(
    network_file: Path, out: Path, *, name: str, host: str, port: int, rpc_port: int
) -> NewNode:
    """Make a node's files in the new or empty folder `out`. Raises NodeError."""
    load_network_file(network_file)
    if out.exists() and any(out.iterdir()):
        raise NodeError(f"{out} is not empty: a node's files are never overwritten")
    out.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY_BYTES)
    member = Member(name, address_of(key), out, host, port, rpc_port)
    entry: dict[str, str | int] = {
        "name": name,
        "address": to_checksum(member.address),
        "host": host,
        "port": port,
        "rpc": f"http://{host}:{rpc_port}",
    }
    values = json.loads(network_file.read_bytes())
    values["peers"] = [*values.get("peers", []), entry]
    create_member(member, key)
    write_node_settings(member, {})
    write_file(out / NETWORK_FILE, json.dumps(values, indent=2) + "\n")
    return NewNode(member, entry)
