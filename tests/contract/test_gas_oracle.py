"""A slow interpreter that walks the tree and charges node by node agrees with instrumented code.

`slow` is the interpreter. Here it runs the programs of `programs` over a stub's storage, and every
form of the language through real doors, as the fuzzer does with all that it makes.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract.compile import compile_contract
from ledger.contract.signals import OutOfGas, Panicked
from tests.contract.charges import count_charges
from tests.contract.programs import ENV, PRELUDE, Refused, StubHost, run, run_out, write_program
from tests.contract.slow import SlowContract


def interpret(source: bytes, arguments: tuple[Any, ...], gas: int) -> tuple[Any, ...]:
    """What `programs.run` gives, slowly."""
    host = StubHost()
    slow = SlowContract(source).bind(host, ENV, gas, run_out)
    try:
        outcome, value = "success", slow.invoke("run", list(arguments))
    except OutOfGas:
        return "out of gas", None, gas, None
    except Panicked as panic:
        outcome, value = "panic", panic.code
    except Refused as revert:
        outcome, value = "revert", revert.args
    return outcome, value, gas - slow.gas.cell_contents, host.state()


GAS = 100_000


def compare(source: str, arguments: tuple[Any, ...]) -> list[Any]:
    """What the compiled program does otherwise than the interpreter says, or with less gas."""
    data = source.encode()
    compiled = compile_contract(data)
    fast = run(compiled, tuple(map(copy, arguments)), GAS)
    slow = interpret(data, tuple(map(copy, arguments)), GAS)
    if fast[0] == "out of gas":
        # A block is paid before it runs, so what fails inside one may have run out before it.
        return [(fast, slow)] if slow[0] == "success" else []
    if fast[0] != "success":
        same = (fast[0], fast[1], fast[3]) == (slow[0], slow[1], slow[3])
        return [] if same and fast[2] >= slow[2] else [(fast, slow)]
    differing = [] if fast == slow else [(fast, slow)]
    for less in {0, 1, 2, 1 + fast[2] // 3, fast[2]}:
        given = run(compiled, tuple(map(copy, arguments)), fast[2] - less)
        if given != fast if less == 0 else given[0] != "out of gas":
            differing.append((fast, f"with {less} gas less", given))
    return differing


def copy(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


EVERY_CHARGE = (
    PRELUDE
    + """\
    def _helper(self, x: uint256) -> uint256:
        if x > 3:
            return x
        return x + 1
    @write
    def run(self, a: uint256, b: int64, n: uint8, data: list[uint64]) -> int256:
        seen = 0
        for x in data:
            if x == 2:
                continue
            elif x == 3:
                seen += x
            else:
                seen -= 1
            seen += 1
        for i in range(5):
            if i > n:
                break
            seen += i
        while seen > 2:
            seen -= 2
        while seen < 9:
            seen += 2
            if seen > 7 and a + 1 > 3 or b + 2 < 1:
                break
        c = a + 1 if a < 9 else a - 1
        d = a - 1 if a > 9 else a + 1
        e = 1 < a < 9 < b + 100
        if e:
            return c + self._helper(seen) + self._helper(1)
        return d
"""
)


def test_every_charge_is_missed_when_it_is_left_out() -> None:
    source, compiled = EVERY_CHARGE.encode(), []
    inputs = [(5, 3, 2, [1, 2, 3, 4]), (12, -9, 9, []), (1, 200, 2, [2, 3]), (9, 0, 0, [1] * 9)]
    true_gas = [interpret(source, given, GAS)[2] for given in inputs]
    total = count_charges(lambda: compile_contract(source), 0)
    assert total > 20
    for skipped in range(total + 1):
        count_charges(lambda: compiled.append(compile_contract(source)), skipped)
        gas = [run(compiled[-1], given, GAS)[2] for given in inputs]
        assert (gas == true_gas) is (skipped == 0), skipped


ARGUMENTS = st.tuples(
    st.integers(0, 2**256 - 1) | st.integers(0, 50),
    st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9),
    st.integers(0, 255),
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=6),
)


@given(st.randoms(use_true_random=False), ARGUMENTS)
def test_generated_programs_cost_and_do_what_the_interpreter_says(random: Any, given: Any) -> None:
    assert compare(write_program(random.randrange), given) == []


@pytest.mark.deep
@given(st.data(), ARGUMENTS)
def test_drawn_programs_cost_and_do_what_the_interpreter_says(data: Any, given: Any) -> None:
    program = write_program(lambda n: data.draw(st.integers(0, n - 1)))
    assert compare(program, given) == []
