"""A network on one machine to develop against: N real nodes, ten funded and unlocked accounts.

Validator i (from 0) answers JSON-RPC on port + i. The nodes are processes of their own, the same
daemon as anywhere; this module makes their files, starts them, waits until they are connected, and
stops them. Not here: what a node does.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from ledger.crypto.address import address_of, to_checksum
from ledger.genesis import Genesis
from ledger.types import Address
from node.client import Client, ClientError
from node.config import PORT_MAX
from node.daemon import WITH_PARENT
from node.errors import NodeError
from node.keys import derive_unlocked, load_node_key
from node.network_files import (
    KEY_FILE,
    NETWORK_FILE,
    Member,
    create_network,
    load_network_file,
    write_settings,
)
from node.ports import free_ports

MNEMONIC = "test test test test test test test test test test test junk"
"""Everybody knows these keys: never send anything of worth to them."""
CHAIN_ID = 1947
BALANCE_WEI = 10_000 * 10**18
HOST = "127.0.0.1"
DEVNET_HASHES_PER_S = 20_000
"""Of each miner, a few percent of a core; the difficulty is set to a block a second of them all."""
READY_S_MAX = 60.0
"""A Raspberry Pi starts four nodes one after another."""
STOP_S_MAX = 20.0
POLL_S = 0.1
LOG_LINES_SHOWN = 15


@dataclass(slots=True)
class Devnet:
    """The running processes of a local network."""

    members: tuple[Member, ...]
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self) -> None:
        """Start every node; each logs into its own folder."""
        for member in self.members:
            self.processes.append(self.start_node(member))

    def start_node(self, member: Member) -> "subprocess.Popen[bytes]":
        """One node's process. It ends by itself when this process is gone."""
        with (member.folder / "node.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "node.daemon", str(member.config_file), WITH_PARENT],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us, and we stop them one by one
            )

    def wait_ready(self, stopping: Sequence[object] = ()) -> None:
        """Until every node answers and sees all others, or `stopping` has something in it.

        Raises NodeError.
        """
        deadline = time.monotonic() + READY_S_MAX
        others = len(self.members) - 1
        for index, member in enumerate(self.members):
            while not stopping and _count_peers(member) < others:
                self.check_running()
                if time.monotonic() > deadline:
                    raise NodeError(
                        f"{member.name} is not ready after {READY_S_MAX:.0f} s\n"
                        + _last_lines(self.members[index])
                    )
                time.sleep(POLL_S)

    def check_running(self) -> None:
        """Raises NodeError with the end of its log where a node has ended by itself."""
        for member, process in zip(self.members, self.processes, strict=True):
            code = process.poll()
            if code is not None:
                raise NodeError(f"{member.name} ended with exit code {code}\n{_last_lines(member)}")

    def stop(self) -> None:
        """Stop every node cleanly; one that does not stop in time is killed."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_S_MAX
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def run_devnet(
    data: Path,
    *,
    nodes: int = 4,
    port: int = 8_545,
    consensus: str = "qbft",
    empty_block_period_s: int = 0,
) -> int:
    """Run a local network in the folder `data` until SIGINT or SIGTERM; the exit code.

    A folder that holds a network goes on with it. Raises NodeError.
    """
    unlocked = derive_unlocked(MNEMONIC)
    members = prepare(data, nodes, port, consensus, empty_block_period_s, unlocked)
    stopping: list[int] = []

    def note_signal(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    before = {
        number: signal.signal(number, note_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    devnet = Devnet(members)
    try:
        devnet.start()
        devnet.wait_ready(stopping)
        if not stopping:
            _greet(unlocked, port)
        while not stopping:
            devnet.check_running()
            time.sleep(POLL_S)
    finally:
        devnet.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def prepare(
    data: Path,
    nodes: int,
    port: int,
    consensus: str,
    empty_block_period_s: int,
    unlocked: dict[Address, bytes],
) -> tuple[Member, ...]:
    """The members of the network in `data`, which is made where it is not there yet.

    Ports are chosen anew at every start: peers' ports are any free ones. Raises NodeError.
    """
    if port + nodes - 1 > PORT_MAX:
        raise NodeError(f"{nodes} nodes from port {port} on need ports above {PORT_MAX}")
    for index in range(nodes):
        _check_free(port + index)
    settings: dict[str, str | int | bool | tuple[str, ...]] = {
        "rpc.unlocked_mnemonic": MNEMONIC,
        "miner.hashes_per_s": DEVNET_HASHES_PER_S,
    }
    network_file = data / NETWORK_FILE
    if network_file.exists():
        genesis = load_network_file(network_file).genesis
        _check_same(data, genesis, nodes, empty_block_period_s)
        members = tuple(_find_member(data, index) for index in range(nodes))
    else:
        made = create_network(
            data,
            name="devnet",
            nodes=nodes,
            chain_id=CHAIN_ID,
            administrator=next(iter(unlocked)),
            anyone_deploys=True,
            alloc=dict.fromkeys(unlocked, BALANCE_WEI),
            consensus=consensus,
            difficulty=DEVNET_HASHES_PER_S * nodes,
            block_period_ms=0,
            empty_block_period_s=empty_block_period_s,
            simulated=True,
        )
        genesis, members = made.genesis, made.members
    if genesis.consensus != consensus:
        raise NodeError(f"{data} holds a network of {genesis.consensus}, not {consensus}")
    ports = free_ports(nodes)
    while not set(ports).isdisjoint(range(port, port + nodes)):
        ports = free_ports(nodes)
    members = tuple(
        replace(member, port=ports[index], rpc_port=port + index)
        for index, member in enumerate(members)
    )
    write_settings(data, genesis, members, settings)
    return members


def _check_same(data: Path, genesis: Genesis, nodes: int, empty_block_period_s: int) -> None:
    if genesis.chain_id != CHAIN_ID or genesis.name != "devnet":
        raise NodeError(f"{data} holds the network {genesis.name}, which is no devnet")
    if len(genesis.validators) != nodes:
        raise NodeError(
            f"{data} holds a devnet of {len(genesis.validators)} nodes: use --nodes "
            f"{len(genesis.validators)} or another folder"
        )
    if genesis.empty_block_period_s != empty_block_period_s:
        raise NodeError(
            f"{data} holds a devnet with --empty-block-period {genesis.empty_block_period_s}: "
            "use that or another folder"
        )


def _find_member(data: Path, index: int) -> Member:
    folder = data / f"node{index + 1}"
    address = address_of(load_node_key(folder / KEY_FILE, None))
    return Member(folder.name, address, folder, HOST, 0, 0)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise NodeError(
                f"port {port} is taken ({error.strerror}): is another devnet running? "
                "Choose another with --port"
            ) from error


def _count_peers(member: Member) -> int:
    """How many others a node sees; -1 while it does not answer."""
    client = Client(f"http://{HOST}:{member.rpc_port}", timeout_s=2.0)
    try:
        return int(client.call("net_peerCount"), 16)
    except ClientError:
        return -1
    finally:
        client.close()


def _last_lines(member: Member) -> str:
    lines = (member.folder / "node.log").read_text(errors="replace").splitlines()
    return "\n".join(lines[-LOG_LINES_SHOWN:])


def _greet(unlocked: dict[Address, bytes], port: int) -> None:
    for index, (address, key) in enumerate(unlocked.items()):
        print(f"({index}) {to_checksum(address)}  0x{key.hex()}")
    print(f"chain id {CHAIN_ID}, gas is free; these keys are known to everybody")
    print(f"ready http://{HOST}:{port}", flush=True)
