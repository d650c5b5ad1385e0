"""The files of a network: network.json for all, and a folder for each node.

    network.json            the genesis settings of `ledger.genesis` and "peers"
    administrator.key       the account that changes members, unless one was given
    node1/node.toml         settings; with a copy of network.json beside it
    node1/node.key          the private key, never copied to a second machine
    node1/data/chain.sqlite the signer record, made once, with the key

"peers" is a list of {name, address, host, port} and, where it is known, "rpc". It is not part of
what makes the network: a host may change. Not here: what genesis means (`ledger.genesis`).
"""

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, Unpack

from ledger.consensus.signer import initial_record
from ledger.crypto.address import address_of, parse_address, to_checksum
from ledger.encoding import abi
from ledger.errors import GenesisError, LedgerError
from ledger.genesis import NETWORK_CONTRACT, Genesis, GenesisContract
from ledger.types import Address
from node.config import PORT_MAX, dump_settings
from node.errors import NodeError
from node.genesis_text import dump_genesis, read_genesis
from node.keys import claim_signer_record, save_node_key
from node.peers.addresses import Endpoint
from node.peers.identity import load_or_make_certificate

NETWORK_FILE = "network.json"
DATA_FOLDER = "data"
STORE_FILE = "chain.sqlite"
KEY_FILE = "node.key"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
NETWORK_FILE_BYTES_MAX = 8_000_000
"""A hundred validators and the sources of some contracts; far above it is another kind of file."""
PEERS_MAX = 1_000
DIFFICULTY = 400_000
"""Of proof of work: 5 s a block with four miners at their default of 20,000 hashes a second."""
KEY_BYTES = 32
EXPIRY_S = 30 * 86_400
"""How long a proposal waits for votes: operators may be on holiday."""


Settings: TypeAlias = Mapping[str, str | int | bool | tuple[str, ...]]
"""Of a node.toml, by their dotted names."""
CONSTRUCTOR = [*["address[]"] * 5, *["bool"] * 3, "uint16", "uint64"]
"""The arguments of the network contract, in its order."""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A read network.json."""

    genesis: Genesis
    peers: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A node of a new network and where it answers."""

    name: str
    address: Address
    folder: Path
    host: str
    port: int
    rpc_port: int

    @property
    def config_file(self) -> Path:
        return self.folder / "node.toml"


@dataclass(frozen=True, slots=True)
class CreatedNetwork:
    """What `create_network` made; `administrator` is None where validators vote and none was named,
    `administrator_key_file` None where no key was made."""

    network_file: Path
    genesis: Genesis
    members: tuple[Member, ...]
    administrator: Address | None
    administrator_key_file: Path | None


def load_network_file(path: Path) -> NetworkFile:
    """Read network.json. Raises NodeError naming the file, the key and what was expected."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(NETWORK_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NodeError(f"{path}: the network file cannot be read: {error.strerror}") from error
    if len(raw) > NETWORK_FILE_BYTES_MAX:
        raise NodeError(f"{path}: longer than {NETWORK_FILE_BYTES_MAX} bytes: no network file")
    try:
        values = json.loads(raw)
    except ValueError as error:
        raise NodeError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise NodeError(f"{path}: expected a JSON object")
    peers = values.pop("peers", [])
    try:
        return NetworkFile(read_genesis(values), _read_peers(peers))
    except GenesisError as error:
        raise NodeError(f"{path}: {error}") from error


class Rules(TypedDict, total=False):
    """Settings of `ledger.genesis.Genesis` that whoever makes a network may choose."""

    name: str
    chain_id: int
    timestamp: int
    consensus: str
    difficulty: int
    block_period_ms: int
    empty_block_period_s: int
    round_timeout_ms: int
    simulated: bool
    alloc: Mapping[Address, int]


def create_network(
    out: Path,
    *,
    nodes: int = 4,
    hosts: Sequence[str] = (),
    rpc_port: int = 8_545,
    peer_port: int = 30_545,
    rpc_ports: Sequence[int] = (),
    peer_ports: Sequence[int] = (),
    administrator: Address | None = None,
    administrators: Sequence[Address] = (),
    deployers: Sequence[Address] = (),
    accounts: Sequence[Address] = (),
    anyone_deploys: bool = False,
    accounts_only: bool = False,
    validators_vote: bool = False,
    votes_needed: int = 0,
    expiry_s: int = EXPIRY_S,
    settings: Settings | None = None,
    **rules: Unpack[Rules],
) -> CreatedNetwork:
    """Make the files of a network of `nodes` validators in the new or empty folder `out`.

    `hosts` has one name per node, or one for all of them (127.0.0.1 without). On one host node i
    (from 0) listens on peer_port + i and rpc_port + i, else all on the same ports; `rpc_ports` and
    `peer_ports` name them one by one. `settings` go into every node.toml. Raises NodeError.
    """
    if out.exists() and any(out.iterdir()):
        raise NodeError(f"{out} is not empty: a network's files are never overwritten")
    keys = [secrets.token_bytes(KEY_BYTES) for _ in range(nodes)]
    ports = (peer_ports, peer_port), (rpc_ports, rpc_port)
    members = _place_members(out, keys, hosts, *ports)
    out.mkdir(parents=True, exist_ok=True)
    key_file = None
    if administrator is None and administrators:
        administrator = administrators[0]
    elif administrator is None and not validators_vote:
        administrator, key_file = _make_administrator(out)
    voters = tuple(dict.fromkeys([*([administrator] if administrator else []), *administrators]))
    addresses = sorted(member.address for member in members)
    try:
        contract = make_network_contract(
            addresses, deployers, voters, anyone_deploys, accounts=accounts,
            accounts_only=accounts_only, validators_vote=validators_vote,
            votes_needed=votes_needed, expiry_s=expiry_s,
        )  # fmt: skip
        genesis = _make_genesis(addresses, contract, rules)
    except LedgerError as error:
        raise NodeError(str(error)) from error
    for member, key in zip(members, keys, strict=True):
        create_member(member, key)
    write_settings(out, genesis, members, settings or {})
    return CreatedNetwork(out / NETWORK_FILE, genesis, members, administrator, key_file)


def _place_members(
    out: Path,
    keys: Sequence[bytes],
    hosts: Sequence[str],
    peer_ports: tuple[Sequence[int], int],
    rpc_ports: tuple[Sequence[int], int],
) -> tuple[Member, ...]:
    """A member for each key; of ports all that are named, or the first. Raises NodeError."""
    if len(hosts) not in (0, 1, len(keys)):
        raise NodeError(
            f"{len(hosts)} hosts for {len(keys)} nodes: give one for each, or one for all"
        )
    places = list(hosts) if len(hosts) > 1 else [*hosts, "127.0.0.1"][:1] * len(keys)

    def choose(ports: tuple[Sequence[int], int], index: int) -> int:
        named, first = ports
        return named[index] if named else first + places[:index].count(places[index])

    members = tuple(
        Member(
            name=f"node{index + 1}",
            address=address_of(key),
            folder=out / f"node{index + 1}",
            host=places[index],
            port=choose(peer_ports, index),
            rpc_port=choose(rpc_ports, index),
        )
        for index, key in enumerate(keys)
    )
    if any(max(member.port, member.rpc_port) > PORT_MAX for member in members):
        raise NodeError(f"ports above {PORT_MAX}: start lower or take fewer nodes")
    return members


def _make_administrator(out: Path) -> tuple[Address, Path]:
    """A new account that changes members, and the file of its key."""
    key, path = secrets.token_bytes(KEY_BYTES), out / "administrator.key"
    save_node_key(path, key)
    return address_of(key), path


def _make_genesis(
    validators: Sequence[Address], contract: GenesisContract, rules: Rules
) -> Genesis:
    """The genesis of these rules; `difficulty` counts with consensus "pow" alone."""
    chosen: dict[str, Any] = {"name": "wattledger", "chain_id": 1947, **rules}
    chosen.setdefault("timestamp", int(time.time()))
    difficulty = chosen.pop("difficulty", DIFFICULTY)
    if chosen.get("consensus") == "pow":
        chosen["difficulty"] = difficulty
    return Genesis(validators=tuple(validators), contracts=(contract,), **chosen)


def make_network_contract(
    members: Sequence[Address],
    deployers: Sequence[Address],
    administrators: Sequence[Address],
    anyone_deploys: bool,
    *,
    accounts: Sequence[Address] = (),
    accounts_only: bool = False,
    validators_vote: bool = False,
    votes_needed: int = 0,
    expiry_s: int = EXPIRY_S,
) -> GenesisContract:
    """The contract that says who is a member and who votes on that, as genesis holds it.

    `members` validate and connect; `votes_needed` 0 is more than half of those who vote.
    """
    source = files("contracts_py").joinpath("network.py").read_bytes()
    arguments = abi.encode(
        CONSTRUCTOR,
        [
            list(members),
            list(members),
            list(deployers),
            list(accounts),
            list(administrators),
            anyone_deploys,
            accounts_only,
            validators_vote,
            votes_needed,
            expiry_s,
        ],
    )
    return GenesisContract(NETWORK_CONTRACT, source, arguments)


def dump_network(genesis: Genesis, members: Sequence[Member]) -> str:
    """The text of network.json."""
    values = dump_genesis(genesis)
    values["peers"] = [
        {
            "name": member.name,
            "address": to_checksum(member.address),
            "host": member.host,
            "port": member.port,
            "rpc": f"http://{member.host}:{member.rpc_port}",
        }
        for member in members
    ]
    return json.dumps(values, indent=2) + "\n"


def write_settings(
    out: Path,
    genesis: Genesis,
    members: Sequence[Member],
    settings: Settings,
) -> None:
    """Write network.json for all and node.toml for each; those that are there are replaced."""
    text = dump_network(genesis, members)
    write_file(out / NETWORK_FILE, text)
    for member in members:
        write_node_settings(member, settings)
        write_file(member.folder / NETWORK_FILE, text)


def write_node_settings(member: Member, settings: Settings) -> None:
    """Write a node's node.toml; one that is there is replaced."""
    local = member.host in LOCAL_HOSTS
    values: dict[str, str | int | bool | tuple[str, ...]] = {
        "name": member.name,
        "network": NETWORK_FILE,
        "data": DATA_FOLDER,
        "key.file": KEY_FILE,
        "peers.host": member.host if local else "0.0.0.0",
        "peers.port": member.port,
        "rpc.host": member.host if local else "0.0.0.0",
        "rpc.port": member.rpc_port,
    }
    write_file(member.config_file, dump_settings(values | dict(settings)))


def create_member(member: Member, private_key: bytes) -> None:
    """A node's folder with its key, and a store with the signer record."""
    from ledger.store.sqlite import SqliteStore

    data = member.folder / DATA_FOLDER
    data.mkdir(parents=True)
    # The record comes before the key: a key whose record is missing does not sign at once.
    store = SqliteStore(data / STORE_FILE)
    try:
        claim_signer_record(store, address_of(private_key))
        store.save_signer(initial_record())
    finally:
        store.close()
    save_node_key(member.folder / KEY_FILE, private_key)
    # Here rather than at the node's first start, which would keep the 10 MB that making it takes.
    load_or_make_certificate(data)


def _read_peers(values: object) -> tuple[Endpoint, ...]:
    """The list "peers". Raises GenesisError naming the entry."""
    if not isinstance(values, list) or len(values) > PEERS_MAX:
        raise GenesisError(f"network file: peers: expected a list of at most {PEERS_MAX}")
    return tuple(_read_peer(f"peers[{index}]", item) for index, item in enumerate(values))


def _read_peer(where: str, item: Any) -> Endpoint:
    if not isinstance(item, dict) or not set(item) <= {"name", "address", "host", "port", "rpc"}:
        raise GenesisError(
            f"network file: {where}: expected an object with name, address, host, port and rpc"
        )
    name, host, port = item.get("name", ""), item.get("host"), item.get("port")
    if not isinstance(name, str) or not isinstance(host, str) or not host:
        raise GenesisError(f"network file: {where}: name and host: expected texts")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= PORT_MAX:
        raise GenesisError(f"network file: {where}.port: expected 1 to {PORT_MAX}, got {port!r}")
    try:
        address = parse_address(item.get("address", ""))
    except LedgerError as error:
        raise GenesisError(f"network file: {where}.address: {error}") from error
    return Endpoint(name, address, host, port)


def write_file(path: Path, text: str) -> None:
    """Write a file, synced, whole or not at all."""
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
