"""Each line of SANDBOX.md's tables with the tests that hold it: rules, prices, gas.

    (a) threats, (b) determinism    test_sandbox_table.py: REFUSED and BOUNDED are keyed by the line
    rules R1 to R13                 RULES_HELD below: the tests by name
    (c) prices                      GROWING, LEVEL, WIDER, REFUSED below are keyed by the row
    (d) charges and their proof     CHARGES_HELD below
    (e) what a charge costs         measured, not promised: benchmarks/

The rows are read from the paper where it is at hand; a new one fails until it stands here.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from ledger.contract.compile import compile_contract
from ledger.contract.signals import OutOfGas, Panicked
from ledger.errors import ContractRejected
from tests.contract.programs import ENV, StubHost, run_out
from tests.contract.slow import SlowContract
from tests.contract.test_sandbox_table import SANDBOX, body

ROOT = Path(__file__).parents[2]
CONTRACT = "tests/contract/"
RULES_HELD: dict[str, tuple[str, ...]] = {
    "R1 bytes": (
        "test_front_bounds.py::test_hostile_bytes_are_refused_in_bounded_time",
        "test_front_bounds.py::test_any_bytes_are_refused",
    ),
    "R2 parse": (
        "test_front_bounds.py::test_deep_syntax_is_refused_in_bounded_time",
        "test_front_bounds.py::test_bounds_on_loops_nodes_and_depth_are_met_exactly",
        "test_front_bounds.py::test_any_string_of_tokens_is_accepted_or_refused",
        "test_front_versions.py::test_flags_and_hash_seeds_change_nothing",
    ),
    "R3 nodes": ("test_sandbox_table.py::test_only_listed_nodes_are_accepted",),
    "R4 names": (
        "test_front_rules.py::test_a_method_body_that_breaks_a_rule_is_refused_by_its_name",
        "test_sandbox_table.py::test_only_listed_functions_of_python_are_accepted",
    ),
    "R5 attributes": ("test_sandbox_table.py::test_only_listed_methods_are_accepted",),
    "R6 static parts": (
        "test_front_rules.py::test_a_module_that_breaks_a_rule_is_refused_by_its_name",
        "test_front_rules.py::test_the_exports_are_the_public_names_of_the_authoring_module",
    ),
    "R7 types": ("test_sandbox_table.py::test_an_attack_is_refused_by_a_named_rule",),
    "R8 control": (
        "test_sandbox_table.py::test_an_attack_is_refused_by_a_named_rule",
        "test_back_calls.py::test_a_callee_s_failure_undoes_the_callee_alone_and_its_logs",
    ),
    "R9 latch": (
        "test_back_execution.py::test_out_of_gas_counts_even_where_the_code_hides_it",
        "test_front_run.py::test_gas_stays_gone_once_it_has_run_out",
    ),
    "R10 handles": ("test_sandbox_table.py::test_an_attack_is_refused_by_a_named_rule",),
    "R11 sizes": (
        "test_sandbox_table.py::test_an_attack_is_bounded_and_paid_for",
        "test_back_calls.py::test_out_of_memory_ends_everything_and_is_counted_over_all_calls",
        "test_front_lists.py::test_memory_of_lists_is_counted",
    ),
    "R12 outcome": (
        "test_back_execution.py::test_nothing_of_pythons_words_reaches_an_outcome",
        "test_back_execution.py::test_a_failure_of_this_machine_is_no_outcome",
        "test_back_execution.py::test_a_disk_that_fails_is_no_outcome",
        "test_back_execution.py::test_a_creation_that_cannot_be_reverts_without_data",
    ),
    "R13 host": (
        "test_back_calls.py::test_depth_is_bounded",
        "test_front_run.py::test_nothing_but_the_language_is_in_reach_of_a_method",
        "test_front_run.py::test_calls_share_no_object",
        "test_back_execution.py::test_a_source_is_compiled_once_per_code_hash",
    ),
}
CHARGES_HELD: dict[str, tuple[str, ...]] = {
    "1.": ("test_gas_oracle.py::test_generated_programs_cost_and_do_what_the_interpreter_says",),
    "2.": ("test_gas_forms.py::test_every_charge_of_every_form_is_missed_when_it_is_left_out",),
    "3.": ("test_front_run.py::test_what_never_ends_runs_out_of_gas_in_bounded_time",),
    "4.": ("test_back_execution.py::test_out_of_gas_counts_even_where_the_code_hides_it",),
    "5.": (  # its seven proofs in turn
        "test_gas_forms.py::test_contracts_of_the_grammar_cost_what_the_interpreter_says",
        "test_front_versions.py::test_every_cpython_gives_the_same_digest",
        "test_back_execution.py::test_the_gas_used_suffices_and_one_less_does_not",
        "test_front_run.py::test_accepted_code_gives",
        "test_gas_oracle.py::test_every_charge_is_missed_when_it_is_left_out",
        "../benchmarks/test_gas_schedule.py",
        "test_front_bounds.py::test_any_string_of_tokens_is_accepted_or_refused",
    ),
}

GROWING: dict[str, list[str]] = {
    "`range enumerate zip reversed`": [
        "for i in range(a):\n    pass\nreturn 1",
        "for i, x in enumerate(xs):\n    pass\nreturn 1",
        "for x, y in zip(xs, xs):\n    pass\nreturn 1",
    ],
    "`sum min max any all tuple list`, comprehension": [
        "return sum(xs)",
        "return min(xs)",
        "return max(xs)",
        "return 1 if any(x > 9 for x in xs) else 2",
        "return 1 if all(x < 9 for x in xs) else 2",
        "return len(list(xs))",
        "return len([x for x in xs])",
        "return len([x for x in range(a)])",
    ],
    "`sorted`, `sort()` of int or bytes": ["return sorted(xs)[0]"],
    "`in`, `index`, `==` of lists": [
        "return 1 if 9 in xs else 2",
        "return 1 if 9 not in xs else 2",
    ],
    "list `+`, slice, copy": [
        "return len(xs + xs)",
        "return len(xs[1:])",
        "return len(list(xs))",
        "ys: list[uint64] = [0] * a\nreturn len(ys)",
    ],
    "bytes, str: `+`, slice, `==`, `startswith`, `encode()`": [
        "return len(data + data)",
        "return len(data[1:])",
        "return 1 if data == data else 2",
        "return 1 if data.startswith(data) else 2",
        "return len(data.decode().encode())",
        "return len((data.hex() + data.hex()).encode())",
    ],
    "bytes `find`, `in`, `hex()`": ["return len(data.hex().encode())"],
    "`**`, `<<`": ["return (2 ** a) // 2 ** a", "return (1 << a) // (1 << a)"],
}
"""What is dearer the more it goes through or makes."""
LEVEL: dict[str, list[str]] = {
    "`len abs bool divmod min max` of scalars, `append`, `pop()`, `bit_length`": [
        "return len(xs)",
        "return len(data)",
        "return abs(a)",
        "b, c = divmod(a, 3)\nreturn b + c",
        "return min(a, 3)",
        "return max(a, 3, 5)",
        "xs.append(1)\nreturn 1",
        "return xs.pop()",
    ],
    "int `+ - & \\| ^ >>`, compare": [
        f"return {each}"
        for each in ("a + 1", "a - 1", "a & 7", "a | 7", "a ^ 7", "a >> 3", "1 if a < 9 else 2")
    ],
    '`int.from_bytes`, `to_bytes(n, "big")`': [
        "return uint256(bytes32(a))",
    ],
}
"""What costs the same whatever its operands are."""
WIDER: dict[str, list[tuple[str, str]]] = {
    "int `* // %`": [
        (f"return uint64(a) {op} uint64(9)", f"return uint256(a) {op} uint256(2 ** 200)")
        for op in ("*", "//", "%")
    ],
    "`**`, `<<`": [("return 3 ** 200 % 7", "return 3 ** 300 % 7")],
}
"""Pairs of which the second has more words to work on, known when it is deployed."""
REFUSED: dict[str, list[str]] = {
    "`len abs bool divmod min max` of scalars, `append`, `pop()`, `bit_length`": [
        "return bool(a)",
        "return a.bit_length()",
    ],
    "`range enumerate zip reversed`": ["for x in reversed(xs):\n    pass\nreturn a"],
    "`sum min max any all tuple list`, comprehension": ["x = tuple(xs)\nreturn a"],
    "`sorted`, `sort()` of int or bytes": ["xs.sort()\nreturn a"],
    "`in`, `index`, `==` of lists": ["return xs.index(1)", "return 1 if xs == xs else 2"],
    "bytes `find`, `in`, `hex()`": ["return data.find(data)", "return 1 if data in data else 2"],
    "`pow(a, b, m)`": ["return pow(a, 3, 7)", "return pow(a, -1, 7)"],
    "`int.from_bytes`, `to_bytes(n, \"big\")`": [
        "return int.from_bytes(data)",
        'return len(a.to_bytes(32, "big"))',
    ],
    "No `str()`": [
        f"return {each}"
        for each in (
            "str(a)", "int(data)", "data.replace(data, data)", "data.split()", "data.strip()",
            "data.join(xs)", "data.count(data)", "data.translate(data)", "data.format()",
            "xs.insert(0, 1)", "xs.remove(1)", 'data.decode("utf-7")', 'data.hex().encode("ascii")',
        )
    ],
}  # fmt: skip
"""What the row would have priced and the language left out: there is another way to say it."""
SMALL, LARGE = 4, 200
GAS = 5_000_000


def price(text: str, size: int) -> int:
    """Gas of a run over `size` items, bytes, or that number; the slow interpreter agrees."""
    used = []
    for contract in (compile_contract(body(text)), SlowContract(body(text))):
        host = StubHost()
        bound: Any = contract.bind(host, ENV, GAS, run_out)
        bound.method("run")(size, [1] * size, b"a" * size)
        used.append(GAS - bound.gas.cell_contents)
    assert used[0] == used[1]
    return used[0]


def flatten(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(row, text) for row, texts in table.items() for text in texts]


@pytest.mark.parametrize(("row", "text"), flatten(GROWING))
def test_work_is_paid_by_its_size(row: str, text: str) -> None:
    assert price(text, LARGE) > price(text, SMALL) + 2


@pytest.mark.parametrize(("row", "text"), flatten(GROWING))
def test_work_is_paid_before_it_is_done(row: str, text: str) -> None:
    """With a unit less than it takes, nothing of it happens."""
    bound = compile_contract(body(text)).bind(StubHost(), ENV, price(text, LARGE) - 1, run_out)
    with pytest.raises(OutOfGas):
        bound.method("run")(LARGE, [1] * LARGE, b"a" * LARGE)


@pytest.mark.parametrize(("row", "text"), flatten(LEVEL))
def test_what_needs_no_more_work_costs_no_more(row: str, text: str) -> None:
    assert price(text, LARGE) == price(text, SMALL)


@pytest.mark.parametrize(("row", "pair"), flatten(WIDER))
def test_wider_integers_cost_more(row: str, pair: tuple[str, str]) -> None:
    narrow, wide = pair
    assert price(wide, SMALL) > price(narrow, SMALL)


@pytest.mark.parametrize(("row", "text"), flatten(REFUSED))
def test_what_is_not_priced_is_refused(row: str, text: str) -> None:
    with pytest.raises(ContractRejected):
        compile_contract(body(text))


@pytest.mark.parametrize("text", ["return 2 ** (a * 999)", "return 1 << (a * 999)"])
def test_a_result_that_is_too_wide_is_refused_before_it_is_made(text: str) -> None:
    bound = compile_contract(body(text)).bind(StubHost(), ENV, GAS, run_out)
    with pytest.raises(Panicked):
        bound.method("run")(2**200, [], b"")


def read_part(title: str) -> list[str]:
    if not SANDBOX.exists():
        pytest.skip("../shared/SANDBOX.md is not beside this checkout")
    return SANDBOX.read_text().split(title, 1)[1].split("\n## ", 1)[0].splitlines()


def first_cells(lines: list[str]) -> list[str]:
    rows = [line for line in lines if line.startswith("| ")]
    return [re.split(r"(?<!\\)\|", line)[1].strip() for line in rows]


def test_every_rule_has_its_tests() -> None:
    rows = [cell for cell in first_cells(read_part("**Principles.**")) if cell[:1] == "R"]
    assert rows == list(RULES_HELD)


def test_every_priced_operation_has_its_test() -> None:
    lines = read_part("## (c)")
    rows = first_cells(lines)[1:]
    known = set(GROWING) | set(LEVEL) | set(WIDER) | set(REFUSED)
    assert len(rows) == 13
    assert [row for row in rows if row not in known] == []
    assert any(line.startswith("No `str()`") for line in lines)


def test_every_point_on_gas_has_its_tests() -> None:
    points = [line[:2] for line in read_part("## (d)") if re.match(r"\d\. ", line)]
    assert points == list(CHARGES_HELD)


@pytest.mark.parametrize(
    "held", sorted({each for table in (RULES_HELD, CHARGES_HELD) for names in table.values()
                    for each in names})
)  # fmt: skip
def test_the_tests_that_are_named_are_there(held: str) -> None:
    path, _, name = held.partition("::")
    text = (ROOT / CONTRACT / path).read_text()
    assert f"\ndef {name}(" in text if name else "def test_" in text
