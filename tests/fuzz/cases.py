"""A number makes a case: a source, and calls of it if it is accepted. Oracles that need no host.

What holds for every case: the host ends in a verdict or an outcome, never in an exception; twice
the same is the same; time is bounded by the gas; what leaves a contract is of plain types and what
it leaves behind is storage; the gas is what the slow interpreter counts.
"""

import hashlib
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ledger.contract.cache import find_program
from ledger.contract.compile import compile_contract
from ledger.contract.messages import Outcome
from ledger.errors import ContractRejected
from ledger.state.state import State
from tests.contract.programs import write_program
from tests.contract.sources import LIBRARY, list_contracts
from tests.determinism.play import Story, digest_outcome
from tests.fuzz.grammar import write_contract
from tests.fuzz.mutate import mutate
from tests.fuzz.oracle import DEPLOYS, check_agreement, is_refusal

CALLS = 6
GAS = 1_000_000
NS_PER_GAS_MAX = 200
"""Ten times what `benchmarks.gas` allows: a machine that does other things is no finding."""
IDLE_S = 0.25
"""What a call or a refusal may take beside its gas: collecting garbage, being pushed aside."""
COMPILE_S_MAX = 4.0
"""Ten times the worst source of full size."""
SLOW_TRIES = 3
PLAIN = {int, bool, bytes, str, type(None)}


class Finding(Exception):
    """What must not be."""


class TooSlow(Finding):
    """More time than the gas stands for, this once."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a seed gave: `refused`, or the digest of what it did."""

    digest: str
    mutant: bool
    calls: int = 0
    agreed: int = 0
    """Calls whose gas the slow interpreter counted to be the same."""


STANDARD = [path.read_text() for path in list_contracts("contracts_py", LIBRARY)]
"""All that is deployed or built on, mutated in turn."""
KINDS = 6
MUTANTS = range(2, KINDS)


def make_source(seed: int) -> bytes:
    """By turns: the grammar, the typed grammar of the front, and mutations of both and of ours."""
    pick = random.Random(seed).randrange
    kind = seed % KINDS
    if kind == 0:
        return write_contract(pick).encode()
    if kind == 1:
        return write_program(pick).encode()
    other = write_contract(pick)
    if kind == 2:
        source = other
    elif kind == 3:
        source = write_program(pick)
    else:
        source, other = STANDARD[seed // KINDS % len(STANDARD)], STANDARD[pick(len(STANDARD))]
    return mutate(pick, source, other).encode()


def walk(value: Any, depth: int = 0) -> None:
    """Only exact plain types, lists, and tuples of them (records are tuples)."""
    if type(value) in PLAIN:
        return
    if depth > 8 or not (type(value) is list or isinstance(value, tuple)):
        raise Finding(f"a {type(value)!r} left the contract")
    for item in value:
        walk(item, depth + 1)


class WatchedState(State):
    """Every word that reaches the state is a plain int of a plain slot."""

    __slots__ = ()

    def set_storage(self, address: bytes, slot: bytes, value: int) -> None:
        if type(value) is not int or type(slot) is not bytes or not 0 <= value < 1 << 256:
            raise Finding(f"a {type(value)!r} reached storage")
        super().set_storage(address, slot, value)


def digest_case(seed: int) -> str:
    """What a case does, without a look at the clock: to be compared between versions."""
    source = make_source(seed)
    try:
        return play(seed, source, timed=False)[0]
    except ContractRejected:
        return "refused"


def play(seed: int, source: bytes, timed: bool = True) -> tuple[str, int]:
    """The digest of one run, and its calls; raises Finding."""
    story = Story(source, random.Random(~seed).randrange)
    story.state.__class__ = WatchedState
    digest = hashlib.sha256()
    scope = set(find_program(source, 1).compiled.scope)
    for _ in range(DEPLOYS):
        outcome = story.deploy()
        look(outcome)
        digest.update(digest_outcome(outcome))
        if not is_refusal(outcome):
            break
    calls = CALLS if outcome.status == "success" else 0
    for _ in range(calls):
        began = time.process_time()
        outcome = story.call(GAS)
        spent, used = time.process_time() - began, GAS - outcome.gas_left
        if timed and spent > IDLE_S + used * NS_PER_GAS_MAX / 1e9:
            raise TooSlow(f"{used} gas took {spent:.3f} s")
        look(outcome)
        digest.update(digest_outcome(outcome))
    if set(find_program(source, 1).compiled.scope) != scope:
        raise Finding("a call left something behind")
    digest.update(story.state.commit().root)
    return digest.hexdigest()[:16], calls


def play_timed(seed: int, source: bytes) -> tuple[str, int]:
    """Slow is what is slow each time: a machine stolen for a moment is no finding."""
    for _ in range(SLOW_TRIES - 1):
        with suppress(TooSlow):
            return play(seed, source)
    return play(seed, source)


def look(outcome: Outcome) -> None:
    """All of what a call gives is plain."""
    walk([outcome.status, outcome.output, outcome.gas_left])
    for log in outcome.logs:
        walk([log.address, tuple(log.topics), log.data])


def run_case(seed: int) -> Case:
    """Raises Finding, or whatever broke the host."""
    source, mutant = make_source(seed), seed % KINDS in MUTANTS
    began = time.process_time()
    try:
        compile_contract(source)
    except ContractRejected:
        verdict = "refused"
    else:
        verdict = ""
    spent = time.process_time() - began
    if spent > COMPILE_S_MAX:
        raise Finding(f"compiling {len(source)} bytes took {spent:.1f} s")
    if verdict:
        return Case(verdict, mutant)
    first, second = play_timed(seed, source), play(seed, source, timed=False)
    if first != second:
        raise Finding(f"two runs differ: {first}, {second}")
    digest, calls = first
    return Case(digest, mutant, 2 * calls, check_agreement(seed, source))
