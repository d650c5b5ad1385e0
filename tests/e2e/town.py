"""Four or seven real nodes under load, restarted as systemd would.

`Town` is the network: on loopback, or on `wires` where packets are to be harmed. `Load` are its
customers. Not here: what must hold of them (`invariants`).
"""

import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.crypto.address import address_of
from ledger.encoding.hexadecimal import encode_data
from ledger.transaction import sign_transaction
from node.client import Client, ClientError, RpcError
from node.demo.grid import Grid
from node.demo.relay import Relay
from node.errors import NodeError
from node.network_files import STORE_FILE, create_network
from node.ports import free_ports
from tests.e2e.networks import Watched, await_ready, patience, until
from tests.e2e.wires import NETWORK, Wires, make_wires

ROOT = Path(__file__).parents[2]
ROUND_TIMEOUT_MS = 1_000
RESTART_S = 0.5  # between a process's end and its next start
CALL_S = 3.0  # of a customer's call: a frozen node does not answer at all
RESEND_S = 10.0  # then a customer asks another node
WAITING_MAX = 40  # of one customer; a node keeps 64 of an account
HEAL_S = 60.0
"""For a new head on every node after a heal: four round timeouts, and what TCP and dialling need
that were cut for half a minute: 20 s of retransmission or heartbeat, 15 s between two dials."""


class Supervised(Watched):
    """Processes under `witness`; those in `kept` are started again whenever they end."""

    def __init__(self, logs: Path, folders: Path, wires: Wires | None) -> None:
        super().__init__(logs)
        self.folders = folders
        self.wires = wires
        self.kept: dict[str, tuple[str, ...]] = {}
        self.ends: list[tuple[str, int]] = []
        """(name, exit code) of each end that was followed by a restart."""
        self.starts: Counter[str] = Counter()
        self.wrapper: dict[str, list[str]] = {}
        self.lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def folder(self, name: str) -> Path:
        """Where `witness` and the test of a process talk."""
        folder = self.folders / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start(self, name: str, *arguments: str) -> None:
        """Run `python -m ARGUMENTS`, whose first is the package of the command, looked on."""
        number = name.removeprefix("node")
        port = self.wires.ports[int(number)] if self.wires and number.isdigit() else None
        witness = [sys.executable, "-m", "tests.e2e.witness", str(self.folder(name))]
        command = [*(port.enter if port else []), *self.wrapper.get(name, []), *witness]
        with self.lock, (self.logs / f"{name}.log").open("ab") as log:
            self.starts[name] += 1
            self._running[name] = subprocess.Popen(
                [*command, *arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def keep(self, name: str, *arguments: str) -> None:
        """Start it, and again after each end until `let_go`."""
        with self.lock:
            self.kept[name] = arguments
            self.start(name, *arguments)

    def let_go(self, name: str) -> None:
        with self.lock:
            del self.kept[name]

    def check(self) -> None:
        """Raise NodeError if one gave up by itself; who was killed is just started again."""
        for name, code in self.ends:
            if code > 0:
                tail = (self.logs / f"{name}.log").read_text(errors="replace")[-1_500:]
                raise NodeError(f"{name} ended with status {code}:\n{tail}")

    def running(self, name: str) -> bool:
        with self.lock:
            return name in self._running and self._running[name].poll() is None

    def stop(self, *names: str) -> None:
        with self.lock:
            for name in names or list(self.kept):
                self.kept.pop(name, None)
        if not names:
            self._stopping.set()
            self._thread.join()
        super().stop(*names)

    def _supervise(self) -> None:
        while not self._stopping.wait(RESTART_S):
            with self.lock:
                for name, arguments in self.kept.items():
                    code = self._running[name].poll()
                    if code is not None:
                        self.ends.append((name, code))
                        self.start(name, *arguments)


@dataclass
class Town(Grid):
    """A grid of any size, on wires or not, whose processes are supervised."""

    wires: Wires | None = None

    @property
    def supervised(self) -> Supervised:
        assert isinstance(self.processes, Supervised)
        return self.processes

    @property
    def size(self) -> int:
        return len(self.network.members)

    def url(self, index: int) -> str:
        member = self.network.members[index]
        return f"http://{member.host}:{member.rpc_port}"

    def start_node(self, index: int) -> None:
        member = self.network.members[index]
        self.supervised.keep(
            member.name, "node", "node", "run", "--config", str(member.config_file)
        )

    def store_file(self, index: int) -> Path:
        return self.network.members[index].folder / "data" / STORE_FILE

    def fresh(self, index: int) -> Client:
        return Client(self.url(index), CALL_S * patience())

    def heights(self, indices: Sequence[int] | None = None) -> list[int]:
        found = []
        for index in range(self.size) if indices is None else indices:
            client = self.fresh(index)
            found.append(client.height())
            client.close()
        return found

    def await_progress(self, indices: Sequence[int] | None = None, seconds: float = HEAL_S) -> None:
        """Until each of these nodes has a block that none had when this was called."""
        chosen = list(range(self.size) if indices is None else indices)
        top = max(until(lambda: self.heights(chosen), seconds, "an answer of each node"))
        lowest = [0]

        def passed() -> bool:
            lowest[0] = max(lowest[0], min(self.heights(chosen)))
            return lowest[0] > top

        # The bound is for standing still: one far behind may take longer, block by block.
        until(passed, seconds, f"block {top + 1} on {chosen}", lambda: lowest[0])


@contextmanager
def run_town(
    folder: Path, nodes: int, *, wired: bool = False, start: bool = True, **options: Any
) -> Iterator[Town]:
    """A town until the block ends. On wires the calling thread is in the test's namespace."""
    wires = make_wires(nodes, secrets.randbelow(2**32)) if wired else None
    try:
        town = make_town(folder, nodes, wires, **options)
        try:
            if start:
                for index in range(nodes):
                    town.start_node(index)
                await_ready(town)
            yield town
        finally:
            town.close()
    finally:
        if wires is not None:
            wires.close()


def make_town(folder: Path, nodes: int, wires: Wires | None, **options: Any) -> Town:
    (folder / "logs").mkdir(parents=True)
    operator = secrets.token_bytes(32)
    ports = free_ports(2 * nodes)
    hosts = [f"{NETWORK}.{number}" for number in range(1, nodes + 1)] if wires else []
    network = create_network(
        folder / "network",
        name=f"test {folder.name}",
        nodes=nodes,
        hosts=hosts,
        administrator=address_of(operator),
        deployers=[address_of(operator)],
        simulated=True,
        rpc_port=ports[0],
        peer_port=ports[nodes],
        **{"block_period_ms": 0, "round_timeout_ms": ROUND_TIMEOUT_MS, **options},
    )
    supervised = Supervised(folder / "logs", folder / "witness", wires)
    return Town(folder, supervised, network, operator, Relay({}), [], wires=wires)


# Customers.


@dataclass
class Load:
    """A thread for each node: its customer sends to it, asks it, and elsewhere if it must."""

    town: Town
    pause_s: float = 0.02
    receipts: dict[str, tuple[int, str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    went_back: list[str] = field(default_factory=list)
    turned_back: set[int] = field(default_factory=set)
    """Nodes whose disk the test turns back: what they say may go back, too."""
    asked: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        for index in range(self.town.size):
            thread = threading.Thread(target=self._serve, args=(index,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60 * patience())
            assert not thread.is_alive()

    def _serve(self, index: int) -> None:
        key, nonce, top = secrets.token_bytes(32), 0, 0
        waiting: dict[str, tuple[bytes, float]] = {}
        client = self.town.fresh(index)
        while not self._stopping.wait(self.pause_s):
            try:
                if len(waiting) < WAITING_MAX:
                    raw = self._sign(key, nonce)
                    waiting[self._send(client, raw)] = (raw, time.monotonic())
                    nonce += 1
                top = self._look(index, client, waiting, top)
            except RpcError as error:
                if "syncing" not in str(error) and "catching up" not in str(error):
                    self.unexpected.append(f"node {index + 1}: {error}")
            except ClientError:
                pass  # it is down or frozen just now
            self._send_elsewhere(waiting)
        client.close()

    def _sign(self, key: bytes, nonce: int) -> bytes:
        chain_id = self.town.network.genesis.chain_id
        return sign_transaction(
            key, chain_id=chain_id, nonce=nonce, to=address_of(key), gas=21_000, gas_price=0
        ).raw

    @staticmethod
    def _send(client: Client, raw: bytes) -> str:
        """The transaction's hash, whether it is new to the node or not."""
        from eth_utils import keccak

        try:
            client.call("eth_sendRawTransaction", encode_data(raw))
        except RpcError as error:
            if "already known" not in str(error) and "nonce too low" not in str(error):
                raise
        return encode_data(keccak(raw))

    def _look(self, index: int, client: Client, waiting: dict[str, Any], top: int) -> int:
        """Read height and receipts; neither may be behind what this node said before (S5)."""
        oldest = list(waiting)[:20]
        height, *receipts = client.batch(
            [
                ("eth_blockNumber", ()),
                *[("eth_getTransactionReceipt", (one,)) for one in oldest],
            ]
        )
        self.asked += 1
        number = int(height, 16)
        if number < top and index not in self.turned_back:
            self.went_back.append(f"node {index + 1} said {top}, then {number}")
        for one, receipt in zip(oldest, receipts, strict=True):
            if receipt is not None:
                self.receipts[one] = (int(receipt["blockNumber"], 16), receipt["blockHash"])
                del waiting[one]
        return max(top, number)

    def _send_elsewhere(self, waiting: dict[str, tuple[bytes, float]]) -> None:
        late = [one for one, (_, sent) in waiting.items() if time.monotonic() - sent > RESEND_S]
        if not late:
            return
        client = self.town.fresh(random.randrange(self.town.size))
        for one in late:
            raw = waiting[one][0]
            waiting[one] = (raw, time.monotonic())
            try:
                self._send(client, raw)
            except ClientError:
                break  # that one is down, too: in a while another is asked
        client.close()
