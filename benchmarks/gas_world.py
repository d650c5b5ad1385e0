"""The rest of `gas`: words on a disk under a deep trie, deployments, calls, code not held ready.

A first load and a first store are priced for a chain that has run for years: the slots are among
hundreds of thousands, the state is read by a process that has just started, and what a store costs
is told with the tries and the blocks that keep it.
"""

import tempfile
import time
from itertools import count, islice
from pathlib import Path

from benchmarks.contracts import CONTRACT, GAS, deploy, least, make_message, read_standard
from benchmarks.gas import BLOCK, Measured, NothingStored
from benchmarks.stages import NOW_S, _commit, _context
from benchmarks.workload import make_keys
from ledger.chain import Chain
from ledger.contract import cache
from ledger.contract.artifact import encode_payload
from ledger.contract.execution import execute_call, execute_creation
from ledger.contract.gas import GAS_CODE_BYTE, GAS_CODE_RECORD
from ledger.contract.layout import mapping_slot
from ledger.crypto.address import address_of
from ledger.encoding import abi
from ledger.genesis import Genesis
from ledger.state.state import State
from ledger.store.sqlite import SqliteStore
from ledger.trie.trie import EMPTY_ROOT

SLOTS = 200_000
"""And as many accounts, numbered from BASE."""
BASE = 1 << 150
_numbers = count()
STEP = SLOTS // 1_000
"""A thousand of them are read, spread over all."""
SOURCE = b"""from ledger.contract import (
    Contract, Map, address, bytes32, coin_balance, uint256, write
)
class Words(Contract):
    values: Map[uint256, uint256]
    @write
    def load(self, first: uint256, count: uint256, step: uint256) -> None:
        for i in range(count):
            c = self.values[first + i * step]
    @write
    def store(self, first: uint256, count: uint256, step: uint256) -> None:
        for i in range(count):
            self.values[first + i * step] = i + 1
    @write
    def look(self, first: uint256, count: uint256, step: uint256) -> None:
        for i in range(count):
            c = coin_balance(address(bytes(bytes32(first + i * step))[12:32]))
    @write
    def give(self, first: uint256, count: uint256, step: uint256) -> None:
        for i in range(count):
            self.send(address(bytes(bytes32(first + i * step))[12:32]), 1)
    @write
    def nothing(self) -> None:
        pass
"""


def measure_world() -> list[Measured]:
    return [*measure_disk(), *measure_deploys(), measure_call(), *measure_cold()]


def measure_disk() -> list[Measured]:
    """Loads by a chain just opened; stores of new and of old words, with tries and blocks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.sqlite"
        owner = address_of(make_keys(1)[0])
        genesis = Genesis(name="bench", chain_id=1947, timestamp=NOW_S, validators=(owner,))
        chain = Chain(SqliteStore(path), genesis, flush_blocks=16)
        state = chain.state_at()
        message = make_message(CONTRACT, encode_payload(SOURCE))
        assert execute_creation(state, _context(chain, NOW_S), message).status == "success"
        for index in range(SLOTS):
            slot = mapping_slot(bytes(32), index.to_bytes(32, "big"))
            state.set_storage(CONTRACT, slot, index + 1)
            state.set_balance((BASE + index).to_bytes(20, "big"), index + 1)
        state.set_balance(CONTRACT, 10**9)
        _commit(chain, state, _context(chain, NOW_S), [], [])
        chain.close()
        loads = [time_words(path, genesis, "load", turn, STEP) for turn in range(3)]
        news = [time_words(path, genesis, "store", SLOTS + 1_000 * turn, 1) for turn in range(3)]
        olds = [time_words(path, genesis, "store", turn + 10, STEP) for turn in range(3)]
        looks = [time_words(path, genesis, "look", BASE + turn, STEP) for turn in range(3)]
        gifts = [time_words(path, genesis, "give", BASE + turn + 10, STEP) for turn in range(3)]
    return [
        min(found, key=lambda one: one.ns_per_gas)._replace(name=name)
        for name, found in (
            ("first load, disk", loads),
            ("first store of a new word, disk", news),
            ("first store of an old word, disk", olds),
            ("coin_balance, disk", looks),
            ("send, disk", gifts),
        )
    ]


def time_words(path: Path, genesis: Genesis, method: str, first: int, step: int) -> Measured:
    """One call over a thousand words on a chain just opened, and its block."""
    chain = Chain(SqliteStore(path), genesis, flush_blocks=1)
    state, context = chain.state_at(), _context(chain, NOW_S)
    selector = abi.selector(f"{method}(uint256,uint256,uint256)")
    data = selector + abi.encode(["uint256"] * 3, [first, SLOTS // STEP, step])
    began = time.process_time()
    outcome = execute_call(state, context, make_message(CONTRACT, data))
    if method in ("store", "give"):
        _commit(chain, state, context, [], [])
    ns = (time.process_time() - began) * 1e9
    chain.close()
    assert outcome.status == "success", outcome
    gas = GAS - outcome.gas_left
    return Measured(method, round(ns / gas, 2), ns, gas)


def measure_deploys() -> list[Measured]:
    dense = b"from ledger.contract import Contract, uint256, write\nclass Dense(Contract):\n"
    dense += b"    @write\n    def run(self, a: uint64, b: uint64) -> None:\n".replace(
        b"64", b"256"
    )
    dense += b"        a = (a%3+b//2*(a-b)) % 7\n" * 300
    sources = {
        "el_dapp": (read_standard("el_dapp"), abi.encode(["string", "string"], ["a", "b"])),
        "metering": (read_standard("metering"), abi.encode(["uint32", "int32"], [3_600, 0])),
        "dense arithmetic": (dense, b""),
    }
    found = []
    for name, (source, arguments) in sources.items():
        payload = encode_payload(source, arguments)

        def create(payload: bytes = payload) -> int:
            state = State(NothingStored(), EMPTY_ROOT)
            outcome = execute_creation(state, BLOCK, make_message(CONTRACT, payload))
            assert outcome.status == "success", outcome
            return GAS - outcome.gas_left

        # Each source is another by a comment, or the compiled program would be found again.
        used, times = create(), []
        for number in islice(_numbers, 3):
            other = encode_payload(source + b"# %d\n" % number, arguments)
            times.append(least(lambda other=other: create(other), 1))
        ns = min(times) * 1e9
        found.append(Measured(f"deploy of {name}", round(ns / used, 2), ns, used))
    return found


def measure_call() -> Measured:
    """A call that does nothing: binding, dispatch, an outcome."""
    state = deploy(SOURCE)
    message = make_message(CONTRACT, abi.selector("nothing()"))
    gas = GAS - execute_call(state, BLOCK, message).gas_left
    ns = least(lambda: [execute_call(state, BLOCK, message) for _ in range(500)]) / 500 * 1e9
    return Measured("a call of nothing", round(ns / gas, 2), ns, gas)


def measure_cold() -> list[Measured]:
    """A contract called by another, where it was kept packed: it pays for being made ready."""
    head = (
        "from ledger.contract import Contract, Event, Struct, abi_encode, uint8, uint256, write\n"
    )
    run = "class A(Contract):\n    @write\n    def run(self) -> None:\n"

    def declare(base: str, form: str, number: int) -> str:
        records = [f"class S{index}({base}):\n    a: uint8\n" for index in range(number)]
        uses = ["        " + form.format(index) + "\n" for index in range(number)]
        return "".join([head, *records, run, *uses])

    codecs = ["        x, y, d = self.msg.sender, self.block.number, b''\n"]
    for number in range(100):
        kinds = "".join(["xy"[number >> bit & 1] for bit in range(7)]) * 4
        codecs.append(f"        d = abi_encode({', '.join(kinds)})\n")
    sources = {
        "structs": declare("Struct", "S{}(1)", 1_000),
        "events": declare("Event", "self.emit(S{}(1))", 600),
        "codecs": "".join([head, run, *codecs]),
        "metering": read_standard("metering").decode(),
    }
    return [measure_ready(f"cold code of {name}", source) for name, source in sources.items()]


def measure_ready(name: str, source: str) -> Measured:
    arguments = abi.encode(["uint32", "int32"], [3_600, 0]) if "metering" in name else b""
    selector = abi.selector("tariff_count()" if arguments else "run()")
    state = State(NothingStored(), EMPTY_ROOT)
    created = execute_creation(
        state, BLOCK, make_message(CONTRACT, encode_payload(source.encode(), arguments))
    )
    assert created.status == "success", created
    message = make_message(CONTRACT, selector)
    program = cache.find_program(source.encode(), BLOCK.rules_version)
    gas = GAS - execute_call(state, BLOCK, message).gas_left
    gas += GAS_CODE_BYTE * len(source) + GAS_CODE_RECORD * program.declared

    def call() -> None:
        cache._programs.clear()
        execute_call(state, BLOCK, message)

    ns = least(call) * 1e9
    return Measured(name, round(ns / gas, 2), ns, gas)
