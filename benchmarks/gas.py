"""Nanoseconds per gas of every operation of the contract language and of its doors.

A block's gas bounds its time only where no operation is much cheaper in gas than in time. Each case
below is a contract that does little else; the worst may take at most three times the median. What a
case costs beside its operation (the loop, the call) is in the figure: it is what an attacker gets.
"""

import statistics
import time
from typing import Any, NamedTuple

from benchmarks.gas_cases import CASES, Case
from benchmarks.gas_doors import DOOR_CASES
from ledger.contract.artifact import encode_payload
from ledger.contract.execution import BlockContext, Message, execute_call, execute_creation
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.genesis import GAS_LIMIT
from ledger.state.state import State
from ledger.trie.trie import EMPTY_ROOT

SPREAD_MAX = 3
"""Times the median that the worst operation may take, per gas."""
ON_DISK = ", disk"
"""Ends the names of cases whose time is mostly the database's, told apart from the language's."""
SLOW_FACTOR = 8
"""A Raspberry Pi beside a server core."""
ROUND_MS = 10_000
"""Base round timeout of a network of Pis; a block may take a quarter of it to execute."""
GAS = 1 << 40
CALL_S = 0.002
"""A case is doubled until one call takes so long, or its contract says that it is full."""
REPEATS = 3
ROUNDS = 5
"""All cases, again: what else the machine did in one round is gone in the next."""
SENDER, CONTRACT = keccak256(b"sender")[12:], keccak256(b"measured")[12:]
BLOCK = BlockContext(1, 1_700_000_000, SENDER, GAS_LIMIT, 0, 1947)


class NothingStored:
    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return None

    def get_code(self, code_hash: bytes) -> bytes | None:
        return None


class Measured(NamedTuple):
    name: str
    ns_per_gas: float
    ns: float
    gas: float
    """Of one turn, as `ns`."""


class Bench:
    """One case, deployed; every call runs on the same state and is undone."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.state = State(NothingStored(), EMPTY_ROOT)
        self.state.set_balance(SENDER, 10**24)
        for address, source in (*case.others, (CONTRACT, case.source)):
            data = encode_payload(source.encode())
            outcome = execute_creation(self.state, BLOCK, self._message(address, data))
            if outcome.status != "success":
                raise RuntimeError(f"{case.name}: not deployed: {outcome}")

    def _message(self, to: bytes, data: bytes) -> Message:
        return Message(SENDER, to, 0, data, GAS, False, SENDER, 0)

    def call(self, turns: int) -> tuple[str, int, float]:
        """Status, gas used, seconds of CPU."""
        types, values = ["uint32", *self.case.types], [turns, *self.case.values]
        data = abi.selector(f"run({','.join(types)})") + abi.encode(types, values)
        state, message = self.state, self._message(CONTRACT, data)
        snapshot = state.snapshot()
        began = time.process_time()
        outcome = execute_call(state, BLOCK, message)
        seconds = time.process_time() - began
        state.revert(snapshot)
        return outcome.status, GAS - outcome.gas_left, seconds

    def measure(self) -> Measured:
        turns = 1
        status, gas, seconds = self.call(1)
        if status != "success":
            raise RuntimeError(f"{self.case.name}: {status}")
        while seconds < CALL_S and turns < self.case.turns_max:
            more = self.call(2 * turns)
            if more[0] != "success":
                break
            turns, (_, gas, seconds) = 2 * turns, more
        calls = max(1, int(CALL_S / max(seconds, 1e-6)))
        best = min(sum(self.call(turns)[2] for _ in range(calls)) / calls for _ in range(REPEATS))
        return Measured(self.case.name, round(best * 1e9 / gas, 2), best * 1e9 / turns, gas / turns)


def measure_all() -> list[Measured]:
    """The best of several rounds of each case."""
    from benchmarks.gas_world import measure_world  # it stands on what is here

    cases = [*CASES, *DOOR_CASES]
    rounds = [[*(Bench(case).measure() for case in cases), *measure_world()] for _ in range(ROUNDS)]
    return [min(several, key=lambda one: one.ns_per_gas) for several in zip(*rounds, strict=True)]


def run() -> dict[str, Any]:
    found = sorted(measure_all(), key=lambda one: -one.ns_per_gas)
    median = statistics.median(one.ns_per_gas for one in found)
    worst = next(one for one in found if not one.name.endswith(ON_DISK))
    disk = next(one for one in found if one.name.endswith(ON_DISK))
    block_ms = GAS_LIMIT * found[0].ns_per_gas * SLOW_FACTOR / 1e6
    return {
        "median_ns_per_gas": round(median, 2),
        "worst": worst.name,
        "worst_ns_per_gas": worst.ns_per_gas,
        "worst_to_median": round(worst.ns_per_gas / median, 2),
        "disk": disk.name,
        "disk_ns_per_gas": disk.ns_per_gas,
        "disk_to_median": round(disk.ns_per_gas / median, 2),
        "worst_to_median_max": SPREAD_MAX,
        "full_block_on_a_pi_ms": round(block_ms),
        "full_block_ms_max": ROUND_MS // 4,
        "ns_per_gas": {one.name: one.ns_per_gas for one in found},
    }
