"""Calls of a contract, run by compiled code and by the slow interpreter: gas, results, state agree.

Both stand on the same doors; all that the compiler weaves in is counted twice. A block is paid
before it runs, so that a call that fails may cost more than the interpreter says, never less.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ledger.contract import remote
from ledger.contract.cache import find_program
from ledger.contract.messages import Outcome
from ledger.contract.program import Program
from tests.contract.slow import SlowContract
from tests.determinism.play import Story, digest_outcome

GAS = 400_000
"""Of a call: a node takes the interpreter three microseconds."""
CALLS = 4
DEPLOYS = 8
"""Constructors refuse most numbers."""
FRAMES_MAX = 30_000
"""The interpreter takes a few frames for each node around the one it is at."""
Settled = list[tuple[str, bytes]]


class Disagreement(Exception):
    """Compiled code and the interpreter do not do or cost the same."""


@contextmanager
def interpreted(program: Program, slow: SlowContract) -> Iterator[None]:
    """A program whose methods the interpreter runs."""
    compiled, frames = program.compiled, sys.getrecursionlimit()
    program.compiled = slow
    sys.setrecursionlimit(FRAMES_MAX)
    try:
        yield
    finally:
        program.compiled = compiled
        sys.setrecursionlimit(frames)


@contextmanager
def settled_calls() -> Iterator[Settled]:
    """How the calls between contracts ended, in the order they ended in."""
    original, found = remote.CallingHost._settle, []

    def settle(host: Any, outcome: Outcome, given: int, *, budgeted: bool) -> None:
        found.append((outcome.status, outcome.output))
        original(host, outcome, given, budgeted=budgeted)

    remote.CallingHost._settle = settle
    try:
        yield found
    finally:
        remote.CallingHost._settle = original


def check_agreement(seed: int, source: bytes, calls: int = CALLS, gas: int = GAS) -> int:
    """Play a contract twice; raises Disagreement. Gives the calls whose gas was found equal."""
    program, slow = find_program(source, 1), SlowContract(source)
    stories = [Story(source, random.Random(~seed).randrange) for _ in range(2)]
    equal, deploys = 0, DEPLOYS
    while deploys or calls:
        creates = deploys > 0
        deploys, calls = (deploys - 1, calls) if creates else (0, calls - 1)
        results: list[tuple[Outcome, Settled]] = []
        for story, way in zip(stories, (nullcontext(), interpreted(program, slow)), strict=True):
            with way, settled_calls() as settled:
                outcome = story.deploy() if creates else story.call(gas)
            results.append((outcome, settled))
        found = compare(*results)
        if found is None:
            return equal
        equal += found
        if not creates:
            continue
        deploys = deploys if is_refusal(results[0][0]) else 0
        if not deploys and results[0][0].status != "success":
            return equal
    roots = {story.state.commit().root for story in stories}
    if len(roots) > 1:
        raise Disagreement("the states differ")
    return equal


def compare(fast: tuple[Outcome, Settled], slow: tuple[Outcome, Settled]) -> bool | None:
    """Whether the gas is equal, as of a success it must be; None where the two may go apart."""
    (quick, inner), (true, true_inner) = fast, slow
    failed = any(status != "success" for status, _ in inner)
    if any(status == "out_of_gas" for status, _ in inner) and inner != true_inner:
        return None  # a budget that only just did not pay a block
    if quick.status == "out_of_gas":
        if true.status == "success" and not failed:
            raise Disagreement(f"out of gas, where {true.gas_left} is left")
        return False if true.status != "success" else None
    if inner != true_inner or digest_result(quick) != digest_result(true):
        raise Disagreement(f"{quick}, {inner} where {true}, {true_inner} is right")
    if quick.gas_left > true.gas_left:
        raise Disagreement(f"{quick.gas_left - true.gas_left} gas is not charged: {quick}")
    if quick.status == "success" and not failed and quick.gas_left != true.gas_left:
        raise Disagreement(f"{true.gas_left - quick.gas_left} gas too much: {quick}")
    return quick.gas_left == true.gas_left


def is_refusal(outcome: Outcome) -> bool:
    """Whether other numbers may do better; a loop without an end is not gone through again."""
    return outcome.status in ("revert", "panic")


def digest_result(outcome: Outcome) -> bytes:
    """All but the gas."""
    return digest_outcome(Outcome(outcome.status, 0, outcome.output, outcome.logs))
