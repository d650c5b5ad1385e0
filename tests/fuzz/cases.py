"""A number makes a case: a source, and calls of it if it is accepted. Oracles that need no host.

What holds for every case: the host ends in a verdict or an outcome, never in an exception; twice
the same is the same; time is bounded by the gas; what leaves a contract is of plain types.
"""

import hashlib
import random
import time
from pathlib import Path
from typing import Any

from ledger.contract.compile import compile_contract
from ledger.contract.messages import Outcome
from ledger.contract.source import SOURCE_BYTES_MAX
from ledger.errors import ContractRejected
from ledger.state.state import State
from tests.contract.programs import write_program
from tests.determinism.play import Story, digest_outcome
from tests.fuzz.grammar import write_contract
from tests.fuzz.mutate import mutate

ROOT = Path(__file__).parents[2]
CALLS = 6
GAS = 1_000_000
NS_PER_GAS_MAX = 200
"""Ten times what `benchmarks.gas` allows: a machine that does other things is no finding."""
IDLE_S = 0.25
"""What a call or a refusal may take beside its gas: collecting garbage, being pushed aside."""
COMPILE_S_MAX = 4.0
"""Ten times the worst source of full size."""
PLAIN = {int, bool, bytes, str, type(None)}


class Finding(Exception):
    """What must not be."""


def list_standard() -> list[str]:
    texts = [path.read_text() for path in sorted((ROOT / "contracts_py").glob("*.py"))]
    return [text for text in texts if "(Contract)" in text and len(text) <= SOURCE_BYTES_MAX]


STANDARD = list_standard()


def make_source(seed: int) -> bytes:
    """By turns: the grammar, the typed grammar of the front, and mutations of both and of ours."""
    pick = random.Random(seed).randrange
    kind = seed % 6
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
        source, other = STANDARD[pick(len(STANDARD))], STANDARD[pick(len(STANDARD))]
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
        return play(seed, source, timed=False)
    except ContractRejected:
        return "refused"


def play(seed: int, source: bytes, timed: bool = True) -> str:
    """The digest of one run; raises Finding."""
    story = Story(source, random.Random(~seed).randrange)
    story.state.__class__ = WatchedState
    digest = hashlib.sha256()
    outcome = story.deploy()
    look(outcome)
    digest.update(digest_outcome(outcome))
    for _ in range(CALLS if outcome.status == "success" else 0):
        began = time.process_time()
        outcome = story.call(GAS)
        spent, used = time.process_time() - began, GAS - outcome.gas_left
        if timed and spent > IDLE_S + used * NS_PER_GAS_MAX / 1e9:
            raise Finding(f"{used} gas took {spent:.3f} s")
        look(outcome)
        digest.update(digest_outcome(outcome))
    digest.update(story.state.commit().root)
    return digest.hexdigest()[:16]


def look(outcome: Outcome) -> None:
    """All of what a call gives is plain."""
    walk([outcome.status, outcome.output, outcome.gas_left])
    for log in outcome.logs:
        walk([log.address, tuple(log.topics), log.data])


def run_case(seed: int) -> str:
    """`refused`, or the digest of what it did; raises Finding, or whatever broke the host."""
    source = make_source(seed)
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
        return verdict
    first, second = play(seed, source), play(seed, source)
    if first != second:
        raise Finding(f"two runs differ: {first}, {second}")
    return first
