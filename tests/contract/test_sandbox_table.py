"""Every line of the sandbox's tables of threats is met: refused by a named rule, or bounded.

The rows are read from the design paper where it is at hand, so that a new row fails until it has
its attacks here; the other tables are in `test_sandbox_lines`. What the host ends (R9, R12, R13) is
attacked through accepted code.
"""

import ast
import builtins
from pathlib import Path
from typing import Any

import pytest

from ledger.contract.allowed import FUNCTIONS, METHODS, list_allowed
from ledger.contract.compile import compile_contract
from ledger.contract.rules import RULES
from ledger.contract.signals import OutOfGas, Panicked
from ledger.contract.source import FORMS
from ledger.errors import ContractRejected
from tests.contract.programs import ENV, StubHost, run_out

SANDBOX = Path(__file__).parents[2].parent / "shared" / "SANDBOX.md"
HEAD = """\
from ledger.contract import (Array, Contract, Event, Map, Optional, Revert, Role, Struct, address,
    bytes32, int64, string, uint8, uint64, uint256, view, write)
class Seen(Event):
    what: uint256
class Refused(Revert):
    why: uint256
class Pair(Struct):
    first: uint64
    good: bool
class C(Contract):
    total: uint256
    text: string
    values: Map[uint256, uint256]
    queue: Array[uint64]
    _keepers = Role()
    def _helper(self, x: uint256) -> uint256:
        return x
"""
RUN = "    @write\n    def run(self, a: uint256, xs: list[uint64], data: bytes) -> uint256:\n"


def body(text: str) -> bytes:
    lines = "\n".join(" " * 8 + line for line in text.split("\n"))
    return f"{HEAD}{RUN}{lines}\n".encode()


def member(text: str) -> bytes:
    return f"{HEAD}    {text}\n{RUN}        return a\n".encode()


def module(text: str) -> bytes:
    return HEAD.replace("class Seen", f"{text}\nclass Seen", 1).encode() + b"    pass\n"


def raw(data: bytes) -> bytes:
    return HEAD.encode() + data


def run(text: str, gas: int = 15_000_000, **given: Any) -> Any:
    bound = compile_contract(body(text)).bind(StubHost(), ENV, gas, run_out)
    return bound.method("run")(*{"a": 5, "xs": [4, 1, 3], "data": b"abc", **given}.values())


REFUSED: dict[str, list[bytes]] = {
    "dunder walk": [
        body("return ().__class__.__base__.__subclasses__()"),
        body("return a.__class__"),
        body("return self.__dict__"),
        body("return Pair(1, True).__init__"),
        body("return self.__init__"),
        body("return Pair.__init__(self)"),
        body("return xs.__class__.__mro__"),
    ],
    "frames": [
        body("return data.gi_frame.f_back"),
        body("return self.run.cr_await"),
        body("return data.ag_frame"),
        body("return data.tb_frame"),
        body("return sum(x for x in xs).gi_frame"),
    ],
    "format": [
        body('return "{0.__class__}".format(self)'),
        body("return self.text.format_map(xs)"),
        body('return "%s" % a'),
        body('return f"{self!r}"'),
        body('return f"{a:{a}}"'),
    ],
    "exceptions": [
        body("try:\n    return a\nexcept Refused as e:\n    return e.__traceback__"),
        body("try:\n    return a\nexcept:\n    return 1"),
        body("try:\n    return a\nexcept* Refused:\n    return 1"),
        body("try:\n    return self._helper(a)\nexcept Refused as e:\n    return e.__context__"),
        body("try:\n    return xs[9]\nexcept AttributeError as e:\n    return e.obj"),
        body("raise Refused(1) from Refused(2)"),
    ],
    "match": [
        body("match a:\n    case object(__class__=c):\n        return 1\nreturn 2"),
        body("match a:\n    case _:\n        return 1"),
    ],
    "class machinery": [
        member("@(lambda f: f)\n    def f(self) -> None:\n        pass"),
        module("class A(metaclass=C):\n    pass"),
        module("class A(Contract, x=1):\n    pass"),
        member("def __class_getitem__(self, x: uint8) -> None:\n        pass"),
        member("def __init_subclass__(self) -> None:\n        pass"),
        member("def __get__(self, x: uint8) -> None:\n        pass"),
        body("return __build_class__(a)"),
        body("class A:\n    pass\nreturn a"),
        member("x = property(len)"),
        module("class A(Contract):\n    print(1)"),
    ],
    "operator overloading": [
        member(f"def {name}(self) -> uint8:\n        return 1")
        for name in ("__eq__", "__bool__", "__iter__", "__del__", "__add__", "__hash__")
    ]
    + [
        module("class A(Struct):\n    x: uint8\n    def __eq__(self, o: bool) -> bool: ..."),
        module("class A(Event):\n    def __bool__(self) -> bool:\n        return True"),
    ],
    "evaluated annotation, default": [
        member("x: (y := 1)"),
        member("x: print(1)"),
        member("def _f(self, x=[]) -> None:\n        pass"),
        member("def _f(self, x: uint8 = len(b'')) -> None:\n        pass"),
        member("def _f(self, x: (lambda a: 1)) -> None:\n        pass"),
        body("f = lambda a=self._helper(1): a\nreturn a"),
        body("x: print(1) = 5\nreturn a"),
    ],
    "shadowing": [
        module("uint256 = int"),
        module("len = 5"),
        body("for self in xs:\n    pass\nreturn a"),
        body("return sum(len for len in xs)"),
        body("total = 1\nreturn a"),
        module("from ledger.contract import Map as len"),
        member("def _f(self, x: uint8, /) -> None:\n        pass"),
        member("def _f(self, *, len: uint8) -> None:\n        pass"),
        member("def _f(self, Refused: uint8) -> None:\n        pass"),
        body("try:\n    self.send(self.address, 1)\nexcept Refused as len:\n    pass\nreturn a"),
    ],
    "binding forms": [
        body(text)
        for text in (
            "global a",
            "nonlocal a",
            "del a",
            "return (b := a)",
            "return sum((b := x) for x in xs)",
            "b, *c = xs\nreturn a",
            "return max(*xs)",
            "self.emit(Seen(**xs))\nreturn a",
            "import os\nreturn a",
        )
    ]
    + [member("def _f(self, *x: uint8, **k: uint8) -> None:\n        pass")],
    "mangling": [
        body("return self.__x"),
        body("__x = 1\nreturn a"),
        member("__x: uint8"),
        member("def __f(self) -> None:\n        pass"),
        body("return self.keccak256__(data)"),
    ],
    "NFKC, encodings": [
        raw("    x = ().\uff3f\uff3fclass\uff3f\uff3f\n".encode()),
        b"# -*- coding: utf-7 -*-\n" + HEAD.encode(),
        b"\n# vim: set fileencoding=latin-1 :\n" + HEAD.encode(),
        raw(b"    # comment\r    x = 1\n"),
        raw(b"    # \x0c\n"),
        raw(b"    # \x00\n"),
        b"\xef\xbb\xbf" + HEAD.encode(),
        body('return "\\N{BULLET}"'),
    ],
    "deep syntax": [
        body("return " + "(" * 300 + "a" + ")" * 300),
        body("return " + "-" * 2_000 + "a"),
        body("return " + "not " * 1_500 + "True"),
        body("return a" + " + a" * 3_000),
        body("return " + "a if a > 1 else " * 500 + "a"),
        body("return self" + ".x" * 1_000),
        module("X = " + "-" * 900 + "1"),
    ],
    "block nesting": [
        body("".join("    " * n + f"for i{n} in xs:\n" for n in range(9)) + "    " * 9 + "a = 1"),
        body("".join("    " * n + f"while a > {n}:\n" for n in range(21)) + "    " * 21 + "a = 1"),
        body("return " + "sum(" * 9 + "1" + "".join(f" for x{n} in xs)" for n in range(9))),
    ],
    "deep data": [
        body("b = (a,)\nreturn a"),
        body("b = (b,)\nreturn a"),
        body("return hash((a,))"),
        body("ys: list[list[list[list[list[uint8]]]]] = []\nreturn a"),
        module("class A(Struct):\n    x: A"),
        module("class A(Struct):\n    x: list[A]"),
        body("xs = [xs]\nreturn a"),
    ],
    "recursion": [
        member("def _f(self) -> None:\n        self._f()"),
        body("return self.run(a, xs, data)"),
        body("return sum(self._helper(x) for x in xs)"),
        member("def _f(self) -> None:\n        self._g()\n    def _g(self) -> None:\n"
               "        self._f()"),
    ],
    "int and text": [
        body("return str(10**5000)"),
        body('return int("5")'),
        body("return repr(a)"),
        body("return hex(a)"),
        body("return 1" + "0" * 5_000),
    ],
    "sequences": [
        body('x = data * a\nreturn a'),
        body('return "x" * a'),
        body("return data.replace(data, data)"),
        body("return data.join(xs)"),
        body("return data.ljust(1000000000)"),
        body('return self.text.zfill(9)'),
        body("return data.translate(data)"),
        body("return list(range(1000000000000))"),
        body("return bytes(1000000000)"),
        body("return bytearray(a)"),
    ],
    "hash collision": [
        body("x = {a: 1}\nreturn a"),
        body("x = {a}\nreturn a"),
        body("x = {y: y for y in xs}\nreturn a"),
        body("x = dict()\nreturn a"),
        body("x = set(xs)\nreturn a"),
        body("x = frozenset(xs)\nreturn a"),
    ],
    "catching out of gas": [
        body("while True:\n    try:\n        a += 1\n    except:\n        pass\nreturn a"),
        body("try:\n    return a\nfinally:\n    return 1"),
        body("for x in xs:\n    try:\n        a += 1\n    finally:\n        break\nreturn a"),
        body("with self as c:\n    return 1"),
        body("yield a"),
        body("return (yield from xs)"),
        body("await a"),
        body("try:\n    return self._helper(a)\nexcept BaseException:\n    return 1"),
    ],
    "hidden state": [
        member("def _f(self, x: list[uint8] = []) -> None:\n        pass"),
        member("kept = []"),
        member("kept: list[uint8] = []"),
        body("self.tmp = 1\nreturn a"),
        body("self.run.x = 1\nreturn a"),
        body("self._helper.cache = 1\nreturn a"),
        body("C.kept = 1\nreturn a"),
        body("Pair.first = 1\nreturn a"),
        module("STATE = [1]"),
    ],
    "handles": [
        body("x = self.values\nreturn a"),
        body("return self.queue"),
        body("return self._helper(self.values)"),
        body("self.__init__()\nreturn a"),
        body("x = self\nreturn a"),
        body("x = [self.queue]\nreturn a"),
        body("x = [self for y in xs]\nreturn a"),
        body("self.emit(Seen(self.values))\nreturn a"),
        body("return a if self.values == self.values else 1"),
    ],
    "view that writes": [
        member("@view\n    def v(self) -> None:\n        self.total = 1"),
        member("@view\n    def v(self) -> None:\n        self._w()\n    def _w(self) -> None:\n"
               "        self.queue.append(1)"),
        member("@view\n    def v(self) -> None:\n        self.emit(Seen(1))"),
        member("@view\n    def v(self) -> None:\n        self.send(self.address, 1)"),
        member("@view\n    def v(self) -> None:\n        self._keepers.grant(self.address)"),
    ],
    # Determinism, by the words that begin each line of it.
    "New grammar with an old tree": [
        body('return f"{d["a"]}"'),
        body("try:\n    pass\nexcept Refused, Seen:\n    pass"),
        member("def f[T](self, x: T) -> None:\n        pass"),
        module("type X = int"),
        body('return t"{a}"'),
    ],
    "`\\N{}`, identifiers": [
        body('return data.isalpha()'),
        body("return self.text.isdigit()"),
        body("return self.text.upper()"),
        body("return self.text.casefold()"),
        body("return self.text.strip()"),
        body("return self.text.split()"),
        body("return self.text.isprintable()"),
    ],
    "4,301-digit literal": [body("return " + "9" * 4_301)],
    "Error texts differ": [body("try:\n    return min(xs)\nexcept ValueError as e:\n    return 1")],
    "Set order, `hash`, `id`": [
        body("return id(a)"),
        body("return hash(data)"),
        body("return a is a"),
        body("return a is not a"),
        body('return "{:n}".format(a)'),
        body("return a.__sizeof__()"),
    ],
    "Float by `/`": [
        body("return a / 2"),
        body("return 1e3"),
        body("return round(a)"),
        body("return sum([.5])"),
        body("return 1j"),
        body("return float(a)"),
        body("a /= 2\nreturn a"),
    ],
    "Same everywhere": [body("return sorted(xs, key=len)"), body("xs.sort(key=len)\nreturn a")],
    "Mutating the list being iterated": [
        body("for x in xs:\n    xs.append(1)\nreturn a"),
        body("for x in xs:\n    xs.pop()\nreturn a"),
        body("return sum(xs.pop() for x in xs)"),
    ],
    "assert, `__debug__`": [
        body("assert a > 1\nreturn a"),
        body("return __debug__"),
        body('return 1 if data == "" else 2'),
    ],
    "`ast.Num` is gone": [body("return a + True"), body("return True"), module("type X = uint8")],
}  # fmt: skip

BOUNDED: dict[str, list[str]] = {
    "int explosion": [
        "while True:\n    a *= a\nreturn a",
        "while True:\n    a += a\nreturn a",
        "return 1 << a * 1_000",
        "return 2 ** (a * 1_000)",
        "return a ** -1",
        "return (1 << 500) * (1 << 500)",
    ],
    "int and text": ["return len(data.hex().encode() + data.hex().encode()) // a"],
    "sequences": [
        "while True:\n    data = data + data\nreturn a",
        "ys: list[uint64] = [0] * (1 << 64)\nreturn a",
        "while True:\n    xs = xs + xs\nreturn a",
        "while True:\n    xs.append(1)\nreturn a",
        "word = 'x'\nwhile True:\n    word = word + word\nreturn a",
    ],
    "hidden C loops": [
        "return sum(x for x in range(1_000_000_000_000))",
        "while 9 not in xs:\n    xs = xs + xs\nreturn a",
        "while True:\n    xs = sorted(xs + xs)\nreturn a",
        "while data == data:\n    data += data\nreturn a",
        "for i in range(1 << 62):\n    a += 1\nreturn a",
        "for i in range(0, 1 << 200):\n    pass\nreturn a",
    ],
    "aliasing": [
        "rows: list[list[uint64]] = [xs, xs]\nwhile True:\n    rows = rows + rows\nreturn a",
        "rows: list[list[uint64]] = [xs] * 16_384\nwhile True:\n"
        "    a = sum(sum(row) for row in rows)\nreturn a",
    ],
    "recursion": ["while True:\n    a = self._helper(a)\nreturn a"],
    "catching out of gas": ["while a > 0:\n    pass\nreturn a"],
}
"""Accepted code that ends in a panic of its size, or pays until its gas is gone."""


@pytest.mark.parametrize(
    ("line", "source"), [(line, source) for line, all_ in REFUSED.items() for source in all_]
)
def test_an_attack_is_refused_by_a_named_rule(line: str, source: bytes) -> None:
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source)
    error = caught.value
    assert error.rule in RULES and error.hint and error.line >= 1 and error.column >= 1


@pytest.mark.parametrize(
    ("line", "text"), [(line, text) for line, all_ in BOUNDED.items() for text in all_]
)
def test_an_attack_is_bounded_and_paid_for(line: str, text: str) -> None:
    try:
        run(text, gas=300_000)
    except (Panicked, OutOfGas):
        return
    assert line in ("int and text",), "it must have been stopped"


def test_the_attacks_begin_from_accepted_code() -> None:
    """A head that is refused by itself would make every attack above pass."""
    for source in (body("return a"), member("kept: uint8"), module("X = 1")):
        assert compile_contract(source).model.name == "C"


def list_rows(title: str) -> list[str]:
    if not SANDBOX.exists():
        pytest.skip("../shared/SANDBOX.md is not beside this checkout")
    text = SANDBOX.read_text().split(title, 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    points = [line[2:] for line in text.splitlines() if line.startswith("- ")]
    return rows[1:] + points if title == "## (a)" else rows + points


def test_every_threat_has_its_attacks() -> None:
    known = set(REFUSED) | set(BOUNDED)
    missing = [row for row in list_rows("## (a)") if row not in known]
    assert not missing


def test_every_line_on_determinism_has_its_attacks() -> None:
    for point in list_rows("## (b)"):
        if point.startswith("At start the node checks its own flags"):
            continue  # tests/node/test_daemon.py: no contract can
        assert any(point.startswith(line) for line in REFUSED), point


# ---- (c) the allow-list ------------------------------------------------------------------------


def test_only_listed_nodes_are_accepted() -> None:
    """Whatever this Python's grammar has beside the table, today and tomorrow."""
    allowed = {row.name for row in list_allowed() if row.kind in ("statement", "expression")}
    every = {node.__name__ for base in (ast.stmt, ast.expr) for node in base.__subclasses__()}
    assert allowed == {f.__name__ for f in FORMS if issubclass(f, ast.stmt | ast.expr)}
    assert {"Lambda", "Delete", "With", "Await", "Yield", "Dict", "Set", "JoinedStr", "Starred",
            "NamedExpr", "Match", "Global", "Import", "AsyncFor", "TryStar", "Assert"} <= (
        every - allowed)  # fmt: skip


PLAIN_CALLS = ("", "a", "xs", "data", "xs, xs", "a, a", "data, a", "[True]")


@pytest.mark.parametrize("name", sorted(name for name in dir(builtins) if name[0].islower()))
def test_only_listed_functions_of_python_are_accepted(name: str) -> None:
    accepted = []
    for given in PLAIN_CALLS:
        call = f"{name}({given})"
        for text in (
            f"{call}\nreturn a",
            f"x, y = {call}\nreturn a",
            f"for x in {call}:\n    pass\nreturn a",
            f"for x, y in {call}:\n    pass\nreturn a",
        ):
            try:
                compile_contract(body(text))
                accepted.append(text)
            except ContractRejected:
                pass
    if name in FUNCTIONS:
        assert bool(accepted) is (name != "super"), accepted
    else:
        assert not accepted


RECEIVERS: dict[str, tuple[str, type]] = {
    "list": ("xs", list),
    "bytes": ("data", bytes),
    "string": ("self.text", str),
    "Map": ("self.values", dict),
    "Array": ("self.queue", list),
    "Role": ("self._keepers", set),
}


@pytest.mark.parametrize("receiver", sorted(RECEIVERS))
def test_only_listed_methods_are_accepted(receiver: str) -> None:
    owner, kind = RECEIVERS[receiver]
    names = sorted({*dir(kind), *dir(object), "remove", "grant", "revoke", "base", "door", "at__"})
    accepted = set()
    for name in names:
        for given in ("", "a", "1", "data", "self.address"):
            for text in (f"{owner}.{name}({given})\nreturn a", f"x = {owner}.{name}\nreturn a"):
                try:
                    compile_contract(body(text))
                    accepted.add(name)
                except ContractRejected:
                    pass
    assert accepted == set(METHODS[receiver])
