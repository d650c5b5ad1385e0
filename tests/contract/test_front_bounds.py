"""Deep, long, senseless and mutated sources are refused in bounded time, or accepted and sound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract.compile import compile_contract
from ledger.contract.rules import RULES
from ledger.contract.source import SOURCE_BYTES_MAX, TREE_DEPTH_MAX
from ledger.errors import ContractRejected
from tests.contract.programs import ENV, StubHost, run_out
from tests.contract.shapes import module, refusal

DEEP = {
    "brackets": "return " + "(" * 60 + "a" + ")" * 60,
    "unfinished brackets": "return " + "(" * 5_000,
    "calls": "return " + "self._f(" * 60 + "a" + ")" * 60,
    "minus": "return " + "-" * 5_000 + "a",
    "not": "return " + "not " * 3_000 + "a",
    "sums": "return " + "a + " * 3_000 + "a",
    "attributes": "return a" + ".x" * 5_000,
    "ternaries": "return " + "a if a else " * 1_000 + "a",
    "elifs": "if a > 1:\n    pass\n" + "elif a > 1:\n    pass\n" * 60 + "return a",
    "lambdas": "return " + "lambda: " * 2_000 + "a",
    "subscripts": "return a" + "[" * 60 + "0" + "]" * 60,
    "powers": "return " + "a ** " * 2_000 + "a",
}


@pytest.mark.timeout(30)  # exponential work on these would take for ever
@pytest.mark.parametrize("name", DEEP)
def test_deep_syntax_is_refused_in_bounded_time(name: str) -> None:
    assert refusal(module(DEEP[name])) in ("nesting", "syntax", "form")


def test_bounds_on_loops_nodes_and_depth_are_met_exactly() -> None:
    def loops(count: int) -> bytes:
        body = "".join("    " * i + f"for i{i} in xs:\n" for i in range(count))
        return module(body + "    " * count + "a = 1\nreturn a")

    compile_contract(loops(8))
    assert refusal(loops(9)) == "loop-depth"
    assert refusal(module("a=1;" * 4_000 + "return a")) == "node-count"
    compile_contract(module("return " + "(" * 40 + "a" + ")" * 40))
    depth = next(n for n in range(99) if is_refused(module("return " + "-" * n + "b")))
    assert 40 < depth <= TREE_DEPTH_MAX


def is_refused(source: bytes) -> bool:
    try:
        compile_contract(source)
    except ContractRejected:
        return True
    return False


QUADRATIC = [
    b'"""' + b'\\"""' * 6_000,
    b"'" * 24_575,
    b'"\\' * 12_000,
    b"#" * 24_000,
    b"\\\n" * 12_000,
    b"[" * 24_000,
    b"f(" * 48,
    b"f(a=" * 48,
    b"{a: " * 48,
    b"lambda a=" * 2_000,
    b"x = (" + b"a, " * 8_000 + b")",
    b"if 1:\n" + b"".join(b" " * (i % 90) + b"if 1:\n" for i in range(1, 250)),
    b"for " * 6_000,
    b"(yield " * 47,
    b"a[" * 47 + b":" * 47,
    b"print " * 4_000,
    b"@a\n" * 8_000,
    b"x" * 24_000,
    b"1" * 24_000,
    b"0x" + b"f" * 24_000,
    b"a.b" * 8_000,
    b"a," * 12_000,
    b"a=" * 12_000,
    b"(a for a in " * 47,
    b"[a for a in " * 47,
    b"a if a else " * 47 + b"a",
    b"a<" * 8_000 + b"a",
    b"not " * 6_000,
    b"*" * 24_000,
    b"a;" * 12_000,
    b"try:\n a\nexcept:\n a\n" * 1_000,
    b"match a:\n case [" * 40,
]


@pytest.mark.timeout(30)  # quadratic work on 24 kB would take minutes
@pytest.mark.parametrize("source", QUADRATIC, ids=range(len(QUADRATIC)))
def test_hostile_bytes_are_refused_in_bounded_time(source: bytes) -> None:
    assert refusal(source[:SOURCE_BYTES_MAX]) in RULES


WORDS = """
def class return if elif else for while in not and or is lambda try except with yield await
async import from as global nonlocal del pass break continue raise assert match case None True
self a b xs data total values maybe queue emit Seen Refused Pair len min range zip enumerate
0 1 2**300 1.5 "x" b"x" f"{a}" ( ) [ ] { } , : . ; = == != < > + - * / // % ** << >> & | ^ ~ @
:= -> += **= __class__ __init__ append pop self.total self.values[a] self.msg.sender
"""
TOKENS = [*WORDS.split(), "\n        ", "\n            ", " "]


@given(st.lists(st.sampled_from(TOKENS), max_size=40))
def test_any_string_of_tokens_is_accepted_or_refused(tokens: list[str]) -> None:
    source = module(" ".join(tokens))
    try:
        compiled = compile_contract(source)
    except ContractRejected as refused:
        assert refused.rule in RULES
    else:
        compiled.bind(StubHost(), ENV, 10_000, run_out)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(source: bytes) -> None:
    assert refusal(source) in RULES


@given(st.data())
def test_a_mutated_contract_is_accepted_or_refused(data: st.DataObject) -> None:
    source = bytearray(module("for c in xs:\n    self.values[c] += a\nreturn sum(xs)"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(source) - 1))
        source[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b"(", b")", b"\n", b" ", b"self", b"1", b":", b".", b"a"])
        )
    try:
        compiled = compile_contract(bytes(source))
    except ContractRejected as refused:
        assert refused.rule in RULES and refused.line >= 1
    else:
        assert compiled.model.methods
