"""Where a story happens: four nodes as processes, people with coins, the demo's real readings."""

import csv
import secrets
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from node.client import Client, ClientError
from node.demo.grid import HOST, NODES, READY_S
from node.demo.households import NOMINAL_V, Household, prepare_households
from node.demo.processes import Processes
from node.demo.stories.contract import Deployed, Person
from node.errors import NodeError
from node.network_files import CreatedNetwork, create_network
from node.ports import free_ports

PEOPLE_MAX = 20
COINS_WEI = 10**18  # of each
CLOCK_TICKS_PER_S = 100  # Linux's unit of a process's time, on every architecture


@dataclass
class Stage:
    """The running network; `close` stops it."""

    folder: Path
    processes: Processes
    network: CreatedNetwork
    households: list[Household]
    _keys: list[bytes]
    _people: dict[str, Person] = field(default_factory=dict)
    _clients: dict[int, Client] = field(default_factory=dict)

    def client(self, index: int) -> Client:
        """The connection to a node, kept; for one thread only."""
        url = f"http://{HOST}:{self.network.members[index].rpc_port}"
        return self._clients.setdefault(index, Client(url))

    def person(self, name: str) -> Person:
        """Who has this name in the story: a key with coins of its own."""
        if name not in self._people:
            self._people[name] = Person(name, self._keys[len(self._people)])
        return self._people[name]

    def contract(self, name: str, sender: Person, *values: Any, node: int = 0) -> Deployed:
        """A contract of `contracts_py`, deployed."""
        contract = Deployed(self.client(node), self.network.genesis.chain_id, name)
        contract.deploy(sender, *values)
        return contract

    def now_s(self) -> int:
        """The time of the newest block."""
        return int(self.client(0).call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def balance(self, person: Person) -> int:
        """Wei."""
        return int(self.client(0).call("eth_getBalance", "0x" + person.address.hex(), "latest"), 16)

    def cpu_seconds(self) -> list[float] | None:
        """Processor time of each node's process so far; None where the system does not say."""
        found = []
        for member in self.network.members:
            try:
                text = Path(f"/proc/{self.processes.pid(member.name)}/stat").read_text()
            except OSError:
                return None  # not Linux
            user, system = text.rpartition(")")[2].split()[11:13]
            found.append((int(user) + int(system)) / CLOCK_TICKS_PER_S)
        return found

    def check_agreement(self) -> tuple[int, str]:
        """Height and hash of a block that all nodes have. Raises NodeError where they differ."""
        height = self.client(0).height()
        deadline = time.monotonic() + READY_S
        hashes = set()
        for index in range(NODES):
            while (
                block := self.client(index).call("eth_getBlockByNumber", hex(height), False)
            ) is None:
                if time.monotonic() > deadline:
                    raise NodeError(f"node {index + 1} has not reached block {height}")
                time.sleep(0.05)
            hashes.add(block["hash"])
        if len(hashes) != 1:
            raise NodeError(f"the nodes disagree about block {height}: {sorted(hashes)}")
        return height, hashes.pop()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.processes.stop()


def open_stage(folder: Path) -> Stage:
    """Write a network's files in `folder`, start its four nodes, wait until all are connected."""
    households = prepare_households(folder / "readings", None)
    (folder / "logs").mkdir(parents=True)
    keys = [secrets.token_bytes(32) for _ in range(PEOPLE_MAX)]
    people = [Person("", key).address for key in keys]
    ports = free_ports(2 * NODES)
    network = create_network(
        folder / "network",
        name="story",
        nodes=NODES,
        administrator=people[0],
        anyone_deploys=True,
        alloc=dict.fromkeys(people, COINS_WEI),
        block_period_ms=0,
        round_timeout_ms=400,  # on one machine; a dead proposer is passed over soon
        simulated=True,
        rpc_port=ports[0],
        peer_port=ports[NODES],
    )
    stage = Stage(folder, Processes(folder / "logs"), network, households, keys)
    try:
        for member in network.members:
            stage.processes.start(
                member.name, "node", "node", "run", "--config", str(member.config_file)
            )
        _await_peers(stage)
    except BaseException:
        stage.close()
        raise
    return stage


def _await_peers(stage: Stage) -> None:
    deadline = time.monotonic() + READY_S
    for index in range(NODES):
        while True:
            stage.processes.check()
            try:
                if len(stage.client(index).call("admin_peers")) >= NODES - 1:
                    break
            except ClientError:
                pass  # it is still starting; the deadline ends this
            if time.monotonic() > deadline:
                raise NodeError(f"node {index + 1} did not find its peers in {READY_S:.0f} s")
            time.sleep(0.05)


def tell(console: Console, what: RenderableType) -> None:
    """A line or a table of the story; numbers in names are not coloured."""
    console.print(what, highlight=False)


def show_network(console: Console, stage: Stage) -> None:
    pids = ", ".join(str(stage.processes.pid(one.name)) for one in stage.network.members)
    first, last = stage.network.members[0].rpc_port, stage.network.members[-1].rpc_port
    tell(console, f"four nodes at {HOST}:{first} to {last}, processes {pids}")


def read_energy(household: Household, interval_s: int, count: int) -> list[int]:
    """Whole watt-hours of the first `count` intervals in a row that the source has wholly.

    `interval_s` is a multiple of the household's own. The fraction of a watt-hour is carried into
    the next interval, so that no energy is lost. Raises NodeError where there is no such run.
    """
    rows_each = interval_s // household.interval_s
    with household.file.open(newline="") as text:
        rows = [row[household.column] for row in csv.DictReader(text)]
    volts = NOMINAL_V if household.column == "amperes" else 1
    for first in range(0, len(rows) - rows_each * count + 1, rows_each):
        chosen = rows[first : first + rows_each * count]
        if all(chosen):
            break
    else:
        raise NodeError(f"{household.name} has no {count} intervals in a row without a gap")
    done, total, energies = 0, Decimal(0), []
    for index, row in enumerate(chosen, 1):
        total += Decimal(row) * volts * household.interval_s / 3_600
        if index % rows_each == 0:
            energies.append(int(total) - done)
            done = int(total)
    return energies
