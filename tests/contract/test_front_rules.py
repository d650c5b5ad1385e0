"""Every attack of the sandbox's threat table is refused by its named rule, or bounded by it."""

from typing import Any

import pytest

from ledger import contract as api
from ledger.contract.annotations import BUILTINS, EXPORTS
from ledger.contract.compile import compile_contract
from ledger.contract.rules import RULES
from ledger.contract.source import SOURCE_BYTES_MAX
from ledger.errors import ContractRejected
from tests.contract.shapes import module, refusal

METHOD_BODIES = r"""
attribute  | return ().__class__.__base__.__subclasses__()
attribute  | return a.__class__
attribute  | return (5).real
attribute  | return xs.__len__()
attribute  | return data.gi_frame.f_back
attribute  | return "{0.__class__}".format(self)
form       | return f"{self!r}"
type       | return "%s" % a
attribute  | return data.decode("ascii")
attribute  | return self.text.format_map(xs)
attribute  | return self.text.upper()
attribute  | return self.text.split()
attribute  | return data.hex(":")
attribute  | return xs.insert(0, 1)
attribute  | return xs.sort()
attribute  | return xs.index(1)
control    | try:\n    return a\nexcept:\n    return 1
form       | try:\n    return a\nfinally:\n    return 1
form       | try:\n    return a\nexcept* ValueError:\n    a = 1
form       | match a:\n    case object(__class__=c):\n        return 1
form       | with a as c:\n    return 1
form       | yield a
form       | return (lambda: a)()
form       | def inner() -> None:\n    pass\nreturn a
form       | class Inner:\n    pass\nreturn a
form       | global a
form       | nonlocal a
form       | del a
form       | return (c := a)
form       | return max(*xs)
form       | import os
form       | from ledger.contract import view
form       | return {1: 2}
form       | return {1, 2}
type       | return [c for c in xs]
form       | return sum(c for c in xs for d in xs)
form       | assert a
form       | return a / 2
form       | return a @ a
form       | return 1.5
form       | return 1e3
form       | return 1j
form       | return ...
form       | return a is b
form       | return a is not b
form       | async def f(): pass
form       | return await a
name       | print(a) ; a += 1 ; c = d = a ; return [a for a in xs]
form       | for c in xs:\n    pass\nelse:\n    pass\nreturn a
form       | while a > 1:\n    break\nelse:\n    pass\nreturn a
form       | raise Refused(1) from Refused(2)
form       | return data[1:2:1]
form       | c = d = a\nreturn c
form       | a, *c = xs\nreturn a
form       | a\nreturn a
form       | "text"\n"text"\nreturn a
control    | raise
control    | raise Refused
control    | raise ValueError(a)
type       | c = Refused(1)\nraise c
control    | break
control    | continue
unreachable| return a\na = 1
unreachable| raise Refused(1)\nreturn a
unreachable| while a > 1:\n    break\n    a = 1\nreturn a
missing-return | a = 1
missing-return | if a > 1:\n    return a
missing-return | while True:\n    return a
binding    | self = a
binding    | for self in xs:\n    pass\nreturn a
binding    | uint256 = 1\nreturn a
binding    | len = 1\nreturn a
binding    | Map = 1\nreturn a
binding    | view = 1\nreturn a
binding    | Seen = 1\nreturn a
binding    | C = 1\nreturn a
binding    | total = 1\nreturn a
binding    | __x = 1\nreturn a
binding    | a__b = 1\nreturn a
binding    | for len, c in enumerate(xs):\n    pass\nreturn a
binding    | c, hash = a, a\nreturn a
binding    | exec: uint64 = 1\nreturn a
name       | return unknown
name       | return eval("a")
name       | return int("5")
name       | return hash(a)
name       | return id(a)
name       | return pow(a, a, a)
type       | return sorted(xs)
type       | return bytes(10000000000)
type       | return list(range(10))
name       | return getattr(self, "total")
name       | return type(a)
name       | return isinstance(a, bool)
name       | return __import__("os")
name       | return __builtins__
name       | return str(a)
name       | return print(a)
name       | return reversed(xs)
name       | return Contract
unassigned | return c\nc = 1
unassigned | if a > 1:\n    c = 1\nreturn c
unassigned | for c in xs:\n    pass\nreturn c
unassigned | while a > 1:\n    c = 1\n    break\nreturn c
unassigned | c += 1\nreturn c
unassigned | for x in xs:\n    if x > 1:\n        d = 1\n    else:\n        continue\nreturn d
type       | return True
type       | return a + True
type       | return a + "x"
type       | return "x" * 5
type       | return data * a
type       | return [0] * a
type       | return a or 1
type       | return not a
type       | return None
type       | if a:\n    return 1\nreturn 2
type       | while xs:\n    pass\nreturn 2
type       | c = 1\nc = True\nreturn a
type       | c = []\nreturn a
type       | c: list[uint64] = [True]\nreturn a
type       | c: list[uint64] = xs * 2\nreturn a
type       | c: list[uint8] = xs\nreturn a
type       | return data == "text"
type       | return 1 if a < data else 2
type       | return 1 if self.text < self.text else 2
type       | return 1 if xs == xs else 2
type       | return 1 if Pair(1, True) == Pair(1, True) else 2
type       | return 1 if a == b"x" else 2
type       | return 1 if self.address == b"short" else 2
type       | return 1 if a in data else 2
type       | return 1 if a in self.values else 2
type       | return 1 if a in xs in xs else 2
type       | return 1 if data == data == data else 2
type       | return a[0]
type       | return self.text[0]
type       | return len(self.text)
type       | return len(a)
type       | return len(self.values)
type       | return xs[True]
type       | return xs["x"]
type       | return xs[0:1]
form       | return self.values[a, a]
type       | return self.values["x"]
type       | return self.nested[a][1]
type       | return range(5)
type       | return zip(xs, xs)
type       | return sum(range(10))
type       | return sum(data)
type       | return max(self.text, self.text)
type       | for c in a:\n    pass\nreturn 1
type       | for c in data:\n    pass\nreturn 1
type       | for c in self.text:\n    pass\nreturn 1
type       | for c, d in xs:\n    pass\nreturn 1
type       | for c in enumerate(xs):\n    pass\nreturn 1
type       | for c in zip(xs):\n    pass\nreturn 1
type       | for c in range():\n    pass\nreturn 1
type       | for c in range(True):\n    pass\nreturn 1
type       | a, c = 1, 2, 3\nreturn a
type       | a, c = a\nreturn a
type       | c = divmod(a, 3)\nreturn a
form       | c = 1, 2\nreturn a
type       | return
type       | return Seen(1)
type       | return Refused(1)
type       | return self.emit(Seen(1))
type       | self.emit(Refused(1))\nreturn a
type       | self.emit(a)\nreturn a
type       | self.emit(Seen(1), Seen(1))\nreturn a
type       | self.emit(Seen())\nreturn a
type       | self.emit(Seen(1, 2))\nreturn a
type       | self.emit(Seen(what=1, why=1))\nreturn a
type       | self.emit(Seen(1, what=1))\nreturn a
type       | self.emit(Seen(True))\nreturn a
type       | self.emit(Seen(**xs))\nreturn a
type       | return Pair(1).first
type       | return Pair(first=1, first=1).first
type       | b = a\nreturn b if b else 1
type       | xs = [True]\nreturn a
type       | self._name = 1 if a > 1 else "x"\nreturn a
type       | self.queue.append(True)\nreturn a
type       | self.operators.grant(a)\nreturn a
type       | self.lists.remove(a)\nreturn a
type       | self.total = True\nreturn a
type       | self.maybe[a] = True\nreturn a
type       | self.total += "x"\nreturn a
type       | self.text = data\nreturn a
attribute  | return self.kept.missing
attribute  | return self.unknown
attribute  | return self.msg.gas
attribute  | return self.block.coinbase
attribute  | return self.msg
attribute  | return self.run
attribute  | return self.emit
attribute  | self.__init__()\nreturn a
attribute  | return self.unknown()
attribute  | self.tmp = 1\nreturn a
attribute  | c = self.kept\nc.first = 1\nreturn a
attribute  | self.msg.sender = ZERO_ADDRESS\nreturn a
attribute  | self.operators = 1\nreturn a
attribute  | self.values = 1\nreturn a
attribute  | self.nested[self.address] = 1\nreturn a
attribute  | self.run.x = 1\nreturn a
attribute  | data[0] = 1\nreturn a
attribute  | xs[0:1] = xs\nreturn a
attribute  | self.values.update(xs)\nreturn a
attribute  | self.values.clear()\nreturn a
attribute  | self.queue.extend(xs)\nreturn a
attribute  | self.operators.add(self.address)\nreturn a
handle     | return self.lists[a].base
handle     | return self.values.door
attribute  | xs.extend(xs)\nreturn a
attribute  | xs.clear()\nreturn a
attribute  | a.append(1)\nreturn a
handle     | c = self\nreturn a
handle     | c = self.values\nreturn a
handle     | c = self.queue\nreturn a
handle     | c = self.operators\nreturn a
handle     | c = self.nested[self.address]\nreturn a
handle     | return self.values
handle     | return 1 if self.values == self.values else 2
handle     | return 1 if self == self else 2
handle     | c = xs if a > 1 else self.queue\nreturn a
handle     | return self._helper(self.values)
handle     | for c in self.queue:\n    pass\nreturn a
handle     | return max(self.queue, self.queue)
handle     | return self._helper(self)
iteration  | for c in xs:\n    xs.append(1)\nreturn a
iteration  | for c in xs:\n    xs.pop()\nreturn a
iteration  | for c in xs:\n    xs[0] = 1\nreturn a
iteration  | for c in xs:\n    xs[0] += 1\nreturn a
iteration  | for i, c in enumerate(xs):\n    xs.append(1)\nreturn a
iteration  | for c, d in zip(xs, xs):\n    if c > 1:\n        xs.append(1)\nreturn a
literal    | return 0x1{zeros}
literal    | self.text = "{long}"\nreturn a
literal    | self.text = "\\ud800"\nreturn a
syntax     | return (
syntax     | return a b
syntax     | return 1if a else 2 2
syntax     | return 'unfinished
"""


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        tuple(part.strip() for part in line.split("|", 1))
        for line in METHOD_BODIES.strip().splitlines()
    ],
)
def test_a_method_body_that_breaks_a_rule_is_refused_by_its_name(rule: str, body: str) -> None:
    body = body.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")
    body = body.replace("{zeros}", "0" * 64).replace("{long}", "x" * 1_025)
    tail = "    def _helper(self, x: uint256) -> uint256:\n        return x\n"
    assert refusal(module(body, tail=tail, fields="    _name: string\n")) == rule


MODULES: list[tuple[str, dict[str, Any] | bytes]] = [
    ("import", b""),
    (
        "override",
        b"from ledger.contract import Contract, override\nclass C(Contract):\n    @override\n"
        b"    def _f(self) -> None:\n        pass\n",
    ),
    ("form", b"import os\n"),
    ("import", b"from os import path\n"),
    ("import", b"from ledger.contract import *\n"),
    ("form", b"from ledger.contract import Contract as len\n"),
    ("form", b"from .contract import Contract\n"),
    ("import", b"from ledger.contract import Door\n"),
    ("import", b"from ledger.contract.door import Door\n"),
    ("import", b"from __future__ import annotations\n"),
    ("module", b"from ledger.contract import Contract\n"),
    ("import", {"head": "from ledger.contract import view\n"}),
    ("form", {"head": "import os\n"}),
    ("module", {"head": "print(1)\n"}),
    ("module", {"head": "def f() -> None:\n    pass\n"}),
    ("module", {"head": "if 1:\n    X = 1\n"}),
    ("constant", {"head": "X = [1]\n"}),
    ("constant", {"head": "X = len\n"}),
    ("constant", {"head": "X = 1 + (2 if True else 3)\n"}),
    ("constant", {"head": "X = None\n"}),
    ("constant", {"head": "X = -True\n"}),
    ("constant", {"head": "X = Y = 1\n"}),
    ("constant", {"head": "X, Y = 1, 2\n"}),
    ("form", {"head": "X: (y := 1) = 1\n"}),
    ("annotation", {"head": "X: f() = 1\n"}),
    ("type", {"head": "X: uint8 = 256\n"}),
    ("type", {"head": "X: bool = 1\n"}),
    ("type", {"head": 'X: address = b"short"\n'}),
    ("binding", {"head": "uint256 = 1\n"}),
    ("binding", {"head": "len = 1\n"}),
    ("binding", {"head": "X = 1\nX = 2\n"}),
    ("binding", {"head": "Seen = 1\n"}),
    ("binding", {"head": "__all__ = 1\n"}),
    ("binding", {"head": "class view(Event):\n    pass\n"}),
    ("class", {"head": "class A:\n    pass\n"}),
    ("class", {"head": "class A(object):\n    pass\n"}),
    ("class", {"head": "class A(Event, Struct):\n    pass\n"}),
    ("module", {"head": "class A(Contract):\n    pass\n"}),
    ("class", {"head": "class A(Pair):\n    pass\n"}),
    ("form", {"head": "class A(Event, metaclass=Revert):\n    pass\n"}),
    ("form", {"head": "@(lambda f: f)\nclass A(Event):\n    pass\n"}),
    ("form", {"head": "@view\nclass A(Event):\n    pass\n"}),
    ("class", {"head": "class A(Event):\n    def __eq__(self, o: bool) -> bool:\n        pass\n"}),
    ("class", {"head": "class A(Event):\n    x = 1\n"}),
    ("class", {"head": "class A(Event):\n    x: uint8 = 1\n"}),
    ("class", {"head": "class A(Struct):\n    pass\n"}),
    ("class", {"head": "class Panic(Revert):\n    pass\n"}),
    ("class", {"head": "class Unauthorized(Revert):\n    pass\n"}),
    ("binding", {"head": "class A(Event):\n    x: uint8\n    x: uint8\n"}),
    ("binding", {"head": "class A(Event):\n    __class__: uint8\n"}),
    ("binding", {"head": "class A(Event):\n    _x: uint8\n"}),
    ("abi-name", {"head": "class A(Event):\n    x: uint8\n    x_: uint8\n"}),
    ("type", {"head": "class A(Struct):\n    x: tuple[bool, bool]\n"}),
    ("annotation", {"head": "class A(Struct):\n    x: Map[bool, bool]\n"}),
    ("type", {"head": "class A(Struct):\n    x: Fixed[list[bool], 4097]\n"}),
    ("type", {"head": "class A(Struct):\n    x: Fixed[list[Fixed[list[bool], 64]], 65]\n"}),
    (
        "type",
        {
            "head": "class A0(Struct):\n    x: Fixed[list[bool], 16]\n"
            + "".join(
                f"class A{n + 1}(Struct):\n"
                + "".join(f"    {letter}: A{n}\n" for letter in "abcdefgh")
                for n in range(3)
            )
        },
    ),
    ("class", {"head": "class A(Enum):\n    pass\n"}),
    ("class", {"head": "class A(Enum):\n    X = 1\n"}),
    ("class", {"head": "class A(Enum):\n    X = 0\n    Y = 2\n"}),
    ("class", {"head": "class A(Enum):\n    X = True\n"}),
    ("class", {"head": "class A(Enum):\n    X: uint8 = 0\n"}),
    ("class", {"head": "class A(Enum):\n    def X(self) -> None:\n        pass\n"}),
    ("class", {"head": "class A(Enum):\n" + "".join(f"    X{n} = {n}\n" for n in range(257))}),
    ("binding", {"head": "class A(Enum):\n    x = 0\n"}),
    ("binding", {"head": "class A(Enum):\n    X = 0\n    X = 1\n"}),
    ("attribute", {"head": "class A(Enum):\n    __X__ = 0\n", "body": "return A.__X__"}),
    ("annotation", {"fields": "    x: Fixed[list[bool], 0]\n"}),
    ("annotation", {"fields": "    x: Fixed[list[bool], True]\n"}),
    ("annotation", {"fields": "    x: Fixed[list[bool], 65537]\n"}),
    ("annotation", {"fields": "    x: Fixed[list[bool], 2 + 3]\n"}),
    ("annotation", {"fields": "    x: Fixed[list[bool]]\n"}),
    ("annotation", {"fields": "    x: Fixed[uint8, 3]\n"}),
    ("annotation", {"fields": "    x: Fixed[Map[bool, bool], 3]\n"}),
    ("annotation", {"head": "class A(Struct):\n    x: A\n"}),
    ("annotation", {"head": "class A(Struct):\n    x: Any\n"}),
    ("annotation", {"head": "class A(Event):\n    x: Optional[uint8]\n"}),
    (
        "class",
        {"head": "class A(Event):\n" + "".join(f"    x{i}: indexed[bool]\n" for i in range(4))},
    ),
    ("annotation", {"head": "class A(Revert):\n    x: indexed[uint8]\n"}),
    ("class", {"fields": "    __slots__ = ()\n"}),
    ("class", {"fields": "    x = []\n"}),
    ("class", {"fields": "    x = Role(1)\n"}),
    ("class", {"fields": "    x: uint8 = 1\n"}),
    ("class", {"fields": "    print(1)\n"}),
    ("binding", {"fields": "    __class__: uint8\n"}),
    ("binding", {"fields": "    msg: uint8\n"}),
    ("binding", {"fields": "    allocate: uint8\n"}),
    ("binding", {"fields": "    run: uint8\n"}),
    ("binding", {"fields": "    total: uint8\n"}),
    ("binding", {"fields": "    id: uint8\n"}),
    ("binding", {"fields": "    Seen: uint8\n"}),
    ("annotation", {"fields": "    x: int\n"}),
    ("annotation", {"fields": "    x: uint7\n"}),
    ("annotation", {"fields": "    x: 'uint8'\n"}),
    ("annotation", {"fields": "    x: Optional[uint8]\n"}),
    ("annotation", {"fields": "    x: Map[uint8]\n"}),
    ("annotation", {"fields": "    x: uint8 | bool\n"}),
    ("type", {"fields": "    x: Array[list[uint8]]\n"}),
    ("type", {"fields": "    x: list[uint8]\n"}),
    ("type", {"fields": "    x: Map[Pair, uint8]\n"}),
    ("type", {"fields": "    x: Map[list[uint8], uint8]\n"}),
    ("type", {"fields": "    x: " + "Map[bool, " * 17 + "bool" + "]" * 17 + "\n"}),
    ("name", {"fields": "    x: uint16\n"}),
    ("binding", {"tail": "    @view\n    def __len__(self) -> uint8:\n        return 1\n"}),
    ("binding", {"tail": "    def __del__(self) -> None:\n        pass\n"}),
    ("binding", {"tail": "    @view\n    def len(self) -> uint8:\n        return 1\n"}),
    ("binding", {"tail": "    @view\n    def run(self) -> uint8:\n        return 1\n"}),
    ("binding", {"tail": "    @view\n    def f(self, total: uint8) -> None:\n        pass\n"}),
    ("binding", {"tail": "    @view\n    def f(self, len: uint8) -> None:\n        pass\n"}),
    ("binding", {"tail": "    @view\n    def f(self, Seen: uint8) -> None:\n        pass\n"}),
    (
        "binding",
        {"tail": "    @view\n    def f(self, self_: uint8, __x: bool) -> None:\n        pass\n"},
    ),
    ("form", {"tail": "    @view\n    def f(self, x: uint8, /) -> None:\n        pass\n"}),
    ("form", {"tail": "    @view\n    def f(self, *x: uint8) -> None:\n        pass\n"}),
    ("form", {"tail": "    @view\n    def f(self, *, x: uint8) -> None:\n        pass\n"}),
    ("form", {"tail": "    @view\n    def f(self, **x: uint8) -> None:\n        pass\n"}),
    ("form", {"tail": "    @view\n    def f(self, x: uint8 = 1) -> None:\n        pass\n"}),
    ("syntax", {"tail": "    @view\n    def f[T](self, x: T) -> None:\n        pass\n"}),
    ("form", {"tail": "    @view\n    async def f(self) -> None:\n        pass\n"}),
    ("form", {"tail": "    @(lambda f: f)\n    def f(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @property\n    def f(self) -> uint8:\n        return 1\n"}),
    ("decorator", {"tail": "    def f(self) -> uint8:\n        return 1\n"}),
    ("decorator", {"tail": "    @view\n    def _f(self) -> uint8:\n        return 1\n"}),
    ("decorator", {"tail": "    @view\n    @write\n    def f(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @view\n    def __init__(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @write(by=total)\n    def f(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @write(by=unknown)\n    def f(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @write(operators)\n    def f(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @write(to=operators)\n    def f(self) -> None:\n        pass\n"}),
    ("decorator", {"tail": "    @view(by=operators)\n    def f(self) -> None:\n        pass\n"}),
    ("class", {"tail": "    @view\n    def f() -> None:\n        pass\n"}),
    ("class", {"tail": "    @view\n    def f(this) -> None:\n        pass\n"}),
    ("annotation", {"tail": "    @view\n    def f(self):\n        pass\n"}),
    ("annotation", {"tail": "    @view\n    def f(self, x) -> None:\n        pass\n"}),
    (
        "annotation",
        {"tail": "    @view\n    def f(self, x: Map[bool, bool]) -> None:\n        pass\n"},
    ),
    ("annotation", {"tail": "    @view\n    def f(self, x: Contract) -> None:\n        pass\n"}),
    ("type", {"tail": "    @view\n    def f(self, x: tuple[bool, bool]) -> None:\n        pass\n"}),
    (
        "type",
        {
            "tail": "    def _f(self, x: list[list[list[list[list[bool]]]]]) -> None:\n"
            "        pass\n"
        },
    ),
    (
        "type",
        {"tail": "    @view\n    def f(self, x: list[tuple[bool, bool]]) -> None:\n        pass\n"},
    ),
    ("type", {"tail": "    def __init__(self) -> uint8:\n        return 1\n"}),
    ("abi-name", {"tail": "    @view\n    def run_(self) -> None:\n        pass\n"}),
    (
        "abi-name",
        {"tail": "    @view\n    def f(self, x: bool, x_: bool) -> None:\n        pass\n"},
    ),
    ("view-writes", {"tail": "    @view\n    def f(self) -> None:\n        self.total = 1\n"}),
    ("view-writes", {"tail": "    @view\n    def f(self) -> None:\n        self.values[1] += 1\n"}),
    ("view-writes", {"tail": "    @view\n    def f(self) -> None:\n        self.emit(Seen(1))\n"}),
    ("view-writes", {"tail": "    @view\n    def f(self) -> None:\n        self.queue.pop()\n"}),
    (
        "view-writes",
        {"tail": "    @view\n    def f(self) -> None:\n        self.maybe.remove(1)\n"},
    ),
    (
        "view-writes",
        {
            "tail": "    @view\n    def f(self) -> None:\n        self._g()\n"
            "    def _g(self) -> None:\n        self._h()\n"
            "    def _h(self) -> None:\n        self.operators.grant(self.address)\n"
        },
    ),
    ("call-depth", {"tail": "    @view\n    def f(self) -> None:\n        self.f()\n"}),
    (
        "call-depth",
        {
            "tail": "    def _g(self) -> None:\n        self._h()\n"
            "    def _h(self) -> None:\n        self._g()\n"
        },
    ),
    (
        "call-depth",
        {
            "tail": "".join(
                f"    def _f{i}(self) -> None:\n        self._f{i + 1}()\n" for i in range(32)
            )
            + "    def _f32(self) -> None:\n        pass\n"
        },
    ),
    (
        "attribute",
        {
            "tail": "    @write(by=operators)\n    def guarded(self) -> None:\n        pass\n"
            "    @write\n    def f(self) -> None:\n        self.guarded()\n"
        },
    ),
    (
        "attribute",
        {
            "tail": "    @payable\n    def paid(self) -> None:\n        pass\n"
            "    @write\n    def f(self) -> None:\n        self.paid()\n"
        },
    ),
    ("source-ascii", b"from ledger.contract import Contract\r\n"),
    ("source-ascii", b"x = 1 # \x0c\n"),
    ("source-ascii", b"\tx = 1\n"),
    ("source-ascii", b"\xef\xbb\xbfx = 1\n"),
    ("source-ascii", b"x = 1\x00\n"),
    ("source-ascii", "x = \uff3f\uff3fclass\uff3f\uff3f\n".encode()),
    ("source-cookie", b"# -*- coding: utf-7 -*-\n"),
    ("source-cookie", b"\n# vim: set fileencoding=latin-1 :\n"),
    ("source-escape", b'x = "\\N{BULLET}"\n'),
    ("source-size", b"#" * (SOURCE_BYTES_MAX + 1)),
]


@pytest.mark.parametrize(("rule", "source"), MODULES)
def test_a_module_that_breaks_a_rule_is_refused_by_its_name(
    rule: str, source: bytes | dict[str, str]
) -> None:
    assert refusal(source if isinstance(source, bytes) else module(**source)) == rule


def test_a_refusal_points_at_the_line_the_column_and_the_text() -> None:
    with pytest.raises(ContractRejected) as caught:
        compile_contract(module("return a / 2"))
    line = module("return a / 2").decode().split("\n").index("        return a / 2") + 1
    error = caught.value
    assert (error.rule, error.line, error.column, error.text) == ("form", line, 16, "a / 2")
    assert error.hint == "use // : floats differ between machines"
    bare = b"from ledger.contract import Contract\n\n\nclass C(Contract):\n    def _f(self, a):\n"
    with pytest.raises(ContractRejected) as caught:
        compile_contract(bare + b"        pass\n")
    error = caught.value
    assert (error.rule, error.line, error.column, error.text) == ("annotation", 5, 18, "a):")


def test_every_rule_of_the_table_is_met_by_a_test() -> None:
    met = {line.split("|")[0].strip() for line in METHOD_BODIES.strip().splitlines()}
    met |= {rule for rule, _ in MODULES} | {"nesting", "loop-depth", "node-count"}
    assert met == set(RULES)


def test_the_exports_are_the_public_names_of_the_authoring_module() -> None:
    public = {name for name in EXPORTS if hasattr(api, name)}
    assert public == EXPORTS
    assert not EXPORTS & BUILTINS
