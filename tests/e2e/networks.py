"""Networks of real processes for end-to-end tests, and a chain read through JSON-RPC alone."""

import json
import os
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_utils import keccak

from ledger.crypto.address import address_of
from node.client import ClientError
from node.demo.grid import Grid
from node.demo.processes import Processes
from node.demo.relay import Relay
from node.network_files import create_network
from node.ports import free_ports

READY_S = 60.0
STOP_S = 60.0
LOAD = Path("/proc/loadavg")
PATIENCE_MAX = 6.0
"""On a machine with more to do than that, what is late is late."""
RECORDED = "0x" + keccak(text="Recorded(address,address,uint32,uint64,uint64,uint8)").hex()
LOG_RANGE_BLOCKS = 1_000
BATCH = 100


class Watched(Processes):
    """The demo's processes; a test also asks whether they run and sends signals of its own."""

    def is_running(self, name: str) -> bool:
        return self._running[name].poll() is None

    def send_signal(self, name: str, number: int) -> None:
        self._running[name].send_signal(number)

    def await_end(self, name: str, seconds: float = STOP_S) -> int:
        """The exit code of a process that ends by itself, or by a signal that was sent."""
        return self._running.pop(name).wait(seconds)


@contextmanager
def run_network(folder: Path, nodes: int, *, start: bool = True, **options: Any) -> Iterator[Grid]:
    """A network of validators until the block ends; `start=False` leaves starting to the test."""
    grid = make_network(folder, nodes, **options)
    try:
        if start:
            for index in range(nodes):
                grid.start_node(index)
            await_ready(grid)
        yield grid
    finally:
        grid.close()


def make_network(folder: Path, nodes: int, **options: Any) -> Grid:
    """The files of a network with logs beside them, as the demo's but of any size."""
    (folder / "logs").mkdir(parents=True)
    operator = secrets.token_bytes(32)
    ports = free_ports(3 * nodes)
    network = create_network(
        folder / "network",
        name=f"test {folder.name}",
        nodes=nodes,
        administrator=address_of(operator),
        deployers=[address_of(operator)],
        block_period_ms=0,
        round_timeout_ms=1_000,
        simulated=True,
        rpc_port=ports[0],
        peer_port=ports[nodes],
        **options,
    )
    relay_ports = ports[2 * nodes :]
    relay = Relay(
        {port: member.rpc_port for port, member in zip(relay_ports, network.members, strict=True)}
    )
    return Grid(folder, Watched(folder / "logs"), network, operator, relay, relay_ports)


def watched(grid: Grid) -> Watched:
    assert isinstance(grid.processes, Watched)
    return grid.processes


def await_ready(grid: Grid) -> None:
    """Until every node answers and is connected to every other."""
    others = len(grid.network.members) - 1
    for index in range(others + 1):

        def connected(index: int = index) -> bool:
            grid.processes.check()
            return len(grid.client(index).call("admin_peers")) >= others

        until(connected, READY_S, f"node {index + 1} and its peers")


def patience() -> float:
    """By how much anything takes longer here than on a machine that has nothing else to do: by
    Linux's own count of the tasks that want to run, of late or now, to a core that this process may
    use. 1 where there are cores enough."""
    wanting = os.getloadavg()[0]
    if LOAD.exists():  # "0.31 0.42 0.50 3/212 9181": three run or want to
        wanting = max(wanting, float(LOAD.read_text().split()[3].partition("/")[0]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(PATIENCE_MAX, max(1.0, wanting / (cores or 1)))


def until(
    condition: Callable[[], Any], seconds: float, what: str, progress: Callable[[], Any] = int
) -> Any:
    """The first true answer of `condition`; a node that does not answer yet is asked again.

    `seconds` are those of a machine of our own, see `patience`, and begin anew whenever `progress`
    has another answer.
    """
    began, stands_at = time.monotonic(), progress()
    while True:
        try:
            if answer := condition():
                return answer
        except (ClientError, OSError) as error:
            what = f"{what.split(' (')[0]} ({error})"
        if progress() != stands_at:
            began, stands_at = time.monotonic(), progress()
        waited = time.monotonic() - began
        assert waited < seconds * patience(), f"waited {waited:.0f} s for {what}"
        time.sleep(0.05)


def read_log(grid: Grid, name: str) -> str:
    return (grid.processes.logs / f"{name}.log").read_text(errors="replace")


# A chain read through JSON-RPC alone.


def ask(url: str, calls: list[tuple[str, list[Any]]]) -> list[Any]:
    """The results of a batch, in order; an error among them fails the test."""
    results: list[Any] = []
    for start in range(0, len(calls), BATCH):
        part = [
            {"jsonrpc": "2.0", "id": index, "method": method, "params": params}
            for index, (method, params) in enumerate(calls[start : start + BATCH])
        ]
        body = json.dumps(part).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            answers = {one["id"]: one for one in json.load(reply)}
        for index in range(len(part)):
            assert "error" not in answers[index], answers[index]
            results.append(answers[index]["result"])
    return results


def height_of(url: str) -> int:
    return int(ask(url, [("eth_blockNumber", [])])[0], 16)


def recorded_by(url: str, contract: bytes, meter: bytes) -> list[tuple[int, int, int, int]]:
    """(period, import Wh, export Wh, quality) of each Recorded event of a meter, as they came."""
    topics = [RECORDED, "0x" + meter.rjust(32, b"\0").hex()]
    top = height_of(url)
    queries = [
        {
            "address": "0x" + contract.hex(),
            "topics": topics,
            "fromBlock": hex(first),
            "toBlock": hex(min(top, first + LOG_RANGE_BLOCKS - 1)),
        }
        for first in range(0, top + 1, LOG_RANGE_BLOCKS)
    ]
    found = []
    for logs in (ask(url, [("eth_getLogs", [query])])[0] for query in queries):
        for log in logs:
            data = log["data"][2:]
            period, import_wh, export_wh, quality = (
                int(data[at : at + 64], 16) for at in range(0, 256, 64)
            )
            found.append((period, import_wh, export_wh, quality))
    return found


def receipts_of(url: str, sender: bytes) -> list[dict[str, Any]]:
    """The receipt of every transaction of an account, from every block."""
    blocks = [("eth_getBlockReceipts", [hex(height)]) for height in range(height_of(url) + 1)]
    wanted = "0x" + sender.hex()
    return [one for block in ask(url, blocks) for one in block if one["from"].lower() == wanted]


def readings_of(
    url: str, contract: bytes, meter: bytes, first: int, count: int
) -> dict[int, tuple[int, int, int]]:
    """What the contract's state has: period -> (import Wh, export Wh, quality)."""
    selector = keccak(text="readings(address,uint32,uint32)")[:4].hex()
    head = "0x" + selector + meter.rjust(32, b"\0").hex()
    found = {}
    for start in range(first, first + count, BATCH):
        size = min(BATCH, first + count - start)
        call = {"to": "0x" + contract.hex(), "data": f"{head}{start:064x}{size:064x}"}
        answer = bytes.fromhex(ask(url, [("eth_call", [call, "latest"])])[0][2:])
        words = [int.from_bytes(answer[at : at + 32]) for at in range(0, len(answer), 32)]
        lists = [words[words[i] // 32 + 1 :][:size] for i in range(4)]
        for index, (import_wh, export_wh, quality, there) in enumerate(zip(*lists, strict=True)):
            if there:
                found[start + index] = (import_wh, export_wh, quality)
    return found
