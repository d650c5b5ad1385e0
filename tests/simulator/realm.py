"""A network of whole nodes in simulated time: the daemon's own `Node`, on false disks and links.

Chain, pool, engine, interpreter, gossip, sync, peers are those that run on a Pi; only sockets, the
disk and the clock are played. Signatures of consensus are stand-ins unless asked otherwise. What
happens to machines is said with verbs on `Machine`; what must hold is watched by `watch.Watch`.
"""

import asyncio
import contextlib
import copy
import random
import tempfile
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import replace
from functools import lru_cache
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

from ledger.block import decode_header
from ledger.consensus.messages import decode_message
from ledger.consensus.signer import initial_record
from ledger.genesis import Genesis, GenesisContract
from ledger.transaction import Transaction, sign_transaction
from node.config import Config, load_config
from node.log import Log
from node.network_files import NetworkFile
from node.node import Node
from node.peers.addresses import Endpoint
from node.peers.connection import Identity
from tests.simulator.clockwork import EPOCH_S, Life, SimulatedLoop, simulated_time
from tests.simulator.disk import Disk, DiskHandle
from tests.simulator.links import FINGERPRINT, LinkedNetwork, Pipe, Weather
from tests.simulator.stand_ins import CHAIN_ID, KEYS, cheap_signatures
from tests.simulator.watch import Watch

SENDERS = list(KEYS)[30:]
COINS = 10**21
UNWIND_TURNS_MAX = 10
PORT = 30_545
NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@lru_cache(maxsize=1)
def default_config() -> Config:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "node.toml"
        file.write_text("")
        return load_config(file)


@lru_cache(maxsize=10_000)
def transfer(sender: bytes, nonce: int, value: int = 1, gas_price: int = 0) -> Transaction:
    return sign_transaction(
        KEYS[sender],
        chain_id=CHAIN_ID,
        nonce=nonce,
        to=SENDERS[0],
        value=value,
        gas=21_000,
        gas_price=gas_price,
    )


class Machine:
    """A computer with a disk, on which a node runs or not."""

    honest = True

    def __init__(self, realm: "Realm", index: int, address: bytes) -> None:
        self.realm = realm
        self.index = index
        self.name = NAMES[index]
        self.host = f"10.0.0.{index + 1}"
        self.address = address
        self.key = KEYS[address]
        self.disk = Disk(Random(f"{realm.seed} disk {index}"))
        self.disk.store.save_signer(initial_record())
        self.life: Life | None = None
        self.node: Node | None = None
        self.log = StringIO()
        self.refusal: str | None = None
        """Why its node did not start, if so."""
        self.skew_s = 0.0
        self.drift_ppm = 0.0

    @property
    def height(self) -> int:
        return self.disk.store.head_height()

    @property
    def head_hash(self) -> bytes:
        header = self.disk.store.get_header(self.height)
        return decode_header(header).hash if header else b""

    def distort(self, frame: bytes) -> list[bytes]:
        """What goes on the wire for a frame; a liar's overrides it."""
        return [frame]

    # Life.

    def start(self) -> None:
        if self.life is None and not self.realm.closed:
            self.realm.tell(f"{self.name} starts")
            self.life = Life(self.name)
            self.set_clock(self.skew_s, self.drift_ppm)
            self.life.do(lambda: self.realm.spawn(self._run(self.life)))

    def set_clock(self, skew_s: float, drift_ppm: float = 0.0) -> None:
        self.skew_s, self.drift_ppm = skew_s, drift_ppm
        if self.life is not None:
            self.life.skew_s, self.life.drift_ppm = skew_s, drift_ppm

    async def _run(self, life: Life) -> None:
        store: Any = DiskHandle(self.disk, life, self.kill, self._note_append)
        try:
            node = self._make_node(store)
            self.node = node
            await node.start()
        except Exception as error:
            self.refusal = f"{type(error).__name__}: {error}"
            self.realm.tell(f"{self.name} does not start: {self.refusal}")
            if life is self.life:
                self.kill()

    def _make_node(self, store: Any) -> Node:
        realm, machine = self.realm, self

        class Played(Node):
            """A node whose network is played."""

            def _make_network(self, private_key: bytes) -> LinkedNetwork:
                network = LinkedNetwork(
                    self.exchange,
                    Identity(private_key, CHAIN_ID, self.chain.genesis_hash, self.config.name),
                    self.address,
                    self.endpoints,
                    (None, None),  # type: ignore[arg-type]
                    FINGERPRINT,
                    self.log,
                )
                network.realm, network.machine = realm, machine
                return network

        config = replace(default_config(), name=self.name, **realm.settings)
        file = NetworkFile(realm.genesis, realm.endpoints)
        node = Played(config, file, self.key, store, Log("error", self.log))
        self._listen(node)
        return node

    def _listen(self, node: Node) -> None:
        """Let the checkers see each consensus message at the moment it is sent."""
        exchange, send, life = node.exchange, node.exchange.send_consensus, self.life
        authors = self.realm.watch.authors

        def send_consensus(message: bytes, to: bytes | None) -> None:
            if life is self.life and self.honest:
                vote = decode_message(message).vote
                own = authors.author_of(vote) == self.address
                disk = self.disk.store.load_signer() if own else None
                self.realm.guard(lambda: self.realm.watch.checker.see_vote(vote, disk))
            send(message, to)

        exchange.send_consensus = send_consensus  # type: ignore[method-assign]

    def _note_append(self, args: tuple[Any, ...]) -> None:
        height, _, header, _, certificate, _ = args[:6]
        if height > 0 and self.honest:
            self.realm.guard(lambda: self.realm.watch.see_block(self, header, certificate))
        self.realm.on_import(self)

    def kill(self) -> None:
        """Power is lost, or kill -9."""
        if self.life is not None:
            self.realm.tell(f"{self.name} loses power at block {self.height}")
            self._end()
            self.disk.lose_power()

    async def _stop(self, node: Node, life: Life) -> None:
        await node.stop()
        if self.life is life:
            self._end()

    def stop(self) -> None:
        """A clean stop."""
        if self.life is not None and self.node is not None:
            self.realm.tell(f"{self.name} stops cleanly")
            node, life = self.node, self.life
            self.life.do(lambda: self.realm.spawn(self._stop(node, life)))

    def _end(self) -> None:
        assert self.life is not None
        life, self.life, self.node = self.life, None, None
        life.end()
        for one, other, there, back in self.realm.connections:
            if self in (one, other):
                there.close()
                back.close()
        self.realm.connections = [link for link in self.realm.connections if not link[2].closed]

    # What scenarios do to it.

    def backup(self) -> Any:
        """A copy of the disk, the signer record too (which a real backup leaves out)."""
        return copy.deepcopy(self.disk.store)

    def restore(self, backup: Any) -> None:
        assert self.life is None
        self.disk.store = copy.deepcopy(backup)
        self.realm.watch.forget_head(self)
        self.realm.tell(f"{self.name} is restored to block {self.height}")

    def feed(self, event: Any) -> None:
        """Give its engine an event, as its peers would."""
        life, node = self.life, self.node
        assert life is not None and node is not None
        self.realm.later(0.0, lambda: life.do(lambda: node.interpreter.feed(event)))

    def ask(self, question: Callable[[Node], Any]) -> Any:
        """What its node answers, asked on the loop as JSON-RPC does."""
        life, node = self.life, self.node
        assert life is not None and node is not None
        answers: list[Any] = []
        self.realm.later(0.0, lambda: life.do(lambda: answers.append(question(node))))
        self.realm.run(0.01)
        return answers[0]

    def restart(self, after_s: float = 0.1) -> None:
        self.kill()
        self.realm.later(after_s, self.start)


class Realm:
    """`n` machines under one seed. `genesis` changes fields of the network file."""

    def __init__(
        self,
        seed: int,
        n: int = 4,
        *,
        weather: Weather | None = None,
        validators: int | None = None,
        contracts: tuple[GenesisContract, ...] = (),
        settings: dict[str, Any] | None = None,
        liars: dict[int, type[Machine]] | None = None,
        **genesis: Any,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.weather = weather or Weather()
        self.loop = SimulatedLoop()
        self.story: list[str] = []
        self.settings = settings or {}
        self.cuts: set[tuple[int, int]] = set()
        self.apart: set[frozenset[int]] = set()
        """Pairs of machines that never had a link."""
        self.connections: list[tuple[Machine, Machine, Pipe, Pipe]] = []
        self.on_import: Callable[[Machine], None] = lambda machine: None
        self.passes: Callable[[Machine, Machine, bytes], bool] = lambda source, target, frame: True
        """Whether a frame may go from one machine to another; a scenario's to set."""
        self.broken: BaseException | None = None
        self.closed = False
        self._when_healed: list[Callable[[], None]] = []
        addresses = sorted(list(KEYS)[:n])
        self.genesis = Genesis(
            **{
                "name": "simulated",
                "chain_id": CHAIN_ID,
                "timestamp": EPOCH_S,
                "validators": tuple(addresses[:validators]),
                "alloc": dict.fromkeys(SENDERS, COINS),
                "contracts": contracts,
                "block_period_ms": 0,
                "round_timeout_ms": 500,
                "round_timeout_ms_max": 4_000,
                **genesis,
            }
        )
        self.endpoints = tuple(
            Endpoint(NAMES[i], address, f"10.0.0.{i + 1}", 30_545)
            for i, address in enumerate(addresses)
        )
        self.watch = Watch(self)
        kinds = liars or {}
        self.machines = [
            kinds.get(i, Machine)(self, i, address) for i, address in enumerate(addresses)
        ]
        self.honest = [machine for machine in self.machines if machine.honest]
        self.by_address = {machine.address: machine for machine in self.machines}
        self.watch.begin({machine.address for machine in self.honest})

    # Time.

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Something the world does; it belongs to no machine."""
        self.loop.call_later(delay_s, action, context=Context())

    def spawn(self, work: Any) -> None:
        self.loop.create_task(work)

    def run(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, or until `done`, asked ten times a second. Raises what went wrong."""

        async def wait() -> bool:
            end_s = self.loop.now_s + seconds
            while self.loop.now_s < end_s and self.broken is None:
                if done():
                    return True
                await asyncio.sleep(min(0.1, end_s - self.loop.now_s))
            return done()

        result = self.loop.run_until_complete(wait())
        if self.broken is not None:
            raise self.broken
        if self.loop.faults:
            raise AssertionError(self.loop.faults[0])
        return result

    def guard(self, check: Callable[[], None]) -> None:
        """Run a checker inside a node: what it raises is kept for us, not swallowed there."""
        try:
            check()
        except AssertionError as error:
            self.broken = self.broken or error

    def tell(self, text: str) -> None:
        self.story.append(f"{self.loop.now_s:9.3f} s  {text}")

    # Links.

    def is_apart(self, one: int, other: int) -> bool:
        return frozenset((one, other)) in self.apart

    def split(self, *sides: str) -> None:
        """Cut all links between these groups of machines, named by letters."""
        side_of = {NAMES.index(name): side for side in sides for name in side}
        self.cuts = {(i, j) for i in side_of for j in side_of if side_of[i] != side_of[j]}
        self.tell("cut: " + " | ".join(sides))

    def on_heal(self, action: Callable[[], None]) -> None:
        self._when_healed.append(action)

    def heal_links(self) -> None:
        self.cuts.clear()
        self.tell("all links work")
        actions, self._when_healed = self._when_healed, []
        for action in actions:
            action()

    # Work.

    def submit(self, machine: Machine, *transactions: Transaction) -> None:
        """A client hands transactions to a node, if that runs."""
        node, life = machine.node, machine.life
        if node is None or life is None:
            return

        async def give() -> None:
            answers = await node.submit([one.raw for one in transactions])
            self.watch.see_answers(machine, transactions, answers)

        life.do(lambda: self.spawn(give()))

    def heights(self) -> list[int]:
        return [machine.height for machine in self.honest]

    def close(self) -> None:
        """End all machines and let their tasks unwind."""
        self.closed = True
        for machine in self.machines:
            if machine.life is not None:
                machine._end()
        for _ in range(UNWIND_TURNS_MAX):
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.sleep(1))
        self.loop.close()


@contextlib.contextmanager
def realm(
    seed: int = 1, n: int = 4, *, real_signatures: bool = False, **options: Any
) -> Iterator[Realm]:
    """A realm within which time is simulated, all machines started."""
    with contextlib.ExitStack() as stack:
        if not real_signatures:
            stack.enter_context(cheap_signatures())
        made = Realm(seed, n, **options)
        stack.enter_context(simulated_time(made.loop))
        # The node's jitter is of the module's own generator.
        stack.callback(random.setstate, random.getstate())
        random.seed(seed)
        try:
            yield made
        except AssertionError as error:
            error.add_note("\n".join(made.story[-60:]))
            raise
        finally:
            made.close()
