"""The contracts of `gas`: one operation each, at the widths and sizes where its cost differs."""

import re
from typing import Any, NamedTuple

from ledger.contract.api import __all__ as EXPORTS

COPIES = 25
"""Of the operation in each turn, so that the loop's own cost is lost in it."""
FILL = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95


class Case(NamedTuple):
    name: str
    source: str
    types: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    turns_max: int = 1 << 20
    others: tuple[tuple[bytes, str], ...] = ()
    """Address and source of the contracts that it calls."""


def write_source(
    line: str,
    setup: str = "",
    parameters: str = "",
    fields: str = "",
    more: str = "",
    copies: int = COPIES,
    kind: str = "write",
) -> str:
    """A contract whose `run` repeats a line; `|` stands for a new line in each text."""

    def lines(text: str, indent: int) -> str:
        return "".join(f"{' ' * indent}{each}\n" for each in text.split("|") if each.strip())

    used = f"{line} {setup} {parameters} {fields} {more}"
    names = set(re.findall(r"\w+", used)) & set(EXPORTS) | {"Contract", "uint32", kind}
    declarations, _, methods = more.partition("@@")
    return (
        f"from ledger.contract import {', '.join(sorted(names))}\n"
        f"{lines(declarations, 0)}class Measured(Contract):\n{lines(fields, 4)}"
        f"{lines(methods, 4)}    @{kind}\n"
        f"    def run(self, turns: uint32{', ' if parameters else ''}{parameters}) -> None:\n"
        f"{lines(setup, 8)}        for turn in range(turns):\n{lines(line, 12) * copies}"
    )


def case(name: str, line: str, **options: Any) -> Case:
    own = ("types", "values", "turns_max", "others")
    given = {key: options.pop(key) for key in own if key in options}
    return Case(name, write_source(line, **options), **given)


def integer_cases() -> list[Case]:
    """Operators at every width; 512 bits are products of two words."""
    cases = []
    for bits in (8, 64, 128, 256, 512):
        width = min(bits, 256)
        a, b = FILL >> 256 - width, (FILL * FILL >> 100) % (1 << width - width // 4) | 1
        options: dict[str, Any] = {
            "parameters": f"x: uint{width}, y: uint{width}",
            "types": (f"uint{width}",) * 2,
            "values": (a, b),
            "setup": "a = x * x|b = y * x" if bits == 512 else "a = x|b = y",
        }
        for op in ("+", "-", "*", "//", "%", "&", "^", "<", "=="):
            if bits == 512 and op in "+*":
                continue  # they would not fit
            cases.append(case(f"int {bits} a {op} b", f"c = a {op} b", **options))
        cases.append(case(f"int {bits} -a", "c = -a", **options))
        cases.append(case(f"int {bits} divmod", "c, d = divmod(a, b)", **options))
        cases.append(case(f"int {bits} a >> 7", "c = a >> 7", **options))
        cases.append(case(f"int {bits} min(a, b)", "c = min(a, b)", **options))
        cases.append(case(f"int {bits} abs(a)", "c = abs(a)", **options))
    options = {"parameters": "a: uint256, n: uint8", "types": ("uint256", "uint8")}
    for base, exponent in ((3, 2), (7, 40), (2**64 - 59, 7), (1, 255), (2**255 - 19, 2)):
        cases.append(
            case(f"int {base.bit_length()} bits ** {exponent}", "c = a ** n",
                 values=(base, exponent), **options)
        )  # fmt: skip
        cases.append(case(f"int {base.bit_length()} bits << {exponent % 200}", "c = a << n",
                          values=(base, exponent % 200), **options))  # fmt: skip
    cases.append(case("int a >> n", "c = a >> n", values=(FILL, 200), **options))
    cases.append(
        case("uint64 checked store", "v: uint64 = a - b", parameters="a: uint256, b: uint256",
             types=("uint256", "uint256"), values=(2**63 + 5, 7))
    )  # fmt: skip
    return cases


def control_cases() -> list[Case]:
    two = {"parameters": "a: uint64, b: uint64", "types": ("uint64", "uint64"), "values": (3, 9)}
    return [
        case("empty loop", "pass", copies=1),
        case("pass", "pass"),
        case("assignment", "c = a", **two),
        case("tuple assignment", "c, d = a, b", **two),
        case("augmented assignment", "c += a", setup="c = 0", **two),
        case("if", "if a < b:|    c = a", **two),
        case("if else", "if a > b:|    c = a|else:|    c = b", **two),
        case("conditional expression", "c = a if a > b else b", **two),
        case("and", "c = a < b and b > a", **two),
        case("or chain", "c = a > b or b < a or a == b or b > a", **two),
        case("compare chain", "c = 1 < a < b < 100", **two),
        case("while", "k = 0|while k < 50:|    k += 1", copies=1),
        case("inner for", "for k in range(50):|    pass", copies=1),
        case("inner for with break", "for k in range(50):|    if k > 48:|        break", copies=1),
        case("internal call", "c = self._helper(a)", **two,
             more="@@def _helper(self, x: uint64) -> uint64:|    return x"),
        case("internal call of six", "c = self._helper(a, b, a, b, a, b)", **two,
             more="@@def _helper(self, x: uint64, y: uint64, z: uint64, u: uint64, v: uint64,"
                  "w: uint64) -> uint64:|    return x"),
        case("struct", "c = Pair(a, True)", **two,
             more="class Pair(Struct):|    first: uint64|    good: bool"),
        case("struct field", "d = c.first", setup="c = Pair(a, True)", **two,
             more="class Pair(Struct):|    first: uint64|    good: bool"),
        case("self.msg.sender", "c = self.msg.sender"),
        case("self.block.timestamp", "c = self.block.timestamp"),
        case("self.address", "c = self.address"),
    ]  # fmt: skip


def text_cases() -> list[Case]:
    cases = []
    for size in (1, 1_000, 60_000):
        data, text = bytes(range(1, 251)) * (size // 250) + b"a" * (size % 250), "\u4e16" * size
        options: dict[str, Any] = {
            "parameters": "a: bytes, b: bytes",
            "types": ("bytes", "bytes"),
            "values": (data, data[:-1] + b"b"),
        }
        cases += [
            case(f"bytes {size} ==", "c = a == b", **options),
            case(f"bytes {size} slice", "c = a[0:len(a)]", **options),
            case(f"bytes {size} + bytes 1", 'c = a + b"x"', **options),
            case(f"bytes {size} index", "c = a[0]", **options),
            case(f"bytes {size} len", "c = len(a)", **options),
        ]
        if size < 60_000:
            texts: dict[str, Any] = {
                "parameters": "a: string, b: string",
                "types": ("string", "string"),
                "values": (text, text),
            }
            cases.append(case(f"string {size} ==", "c = a == b", **texts))
            cases.append(case(f"string {size} +", 'c = a + "x"', **texts))
    return cases


def list_cases() -> list[Case]:
    cases = []
    for size in (1, 100, 8_000):
        items = [FILL >> 192 for _ in range(size - 1)] + [1]
        options: dict[str, Any] = {"parameters": "a: list[uint256]", "types": ("uint256[]",),
                                   "values": (items,)}  # fmt: skip
        cases += [
            case(f"list {size} sum", "c = sum(a)", **options),
            case(f"list {size} min", "c = min(a)", **options),
            case(f"list {size} in", "c = 1 in a", **options),
            case(f"list {size} for", "for c in a:|    pass", copies=1, **options),
            case(
                f"list {size} enumerate", "for i, c in enumerate(a):|    pass", copies=1, **options
            ),
            case(f"list {size} zip", "for i, c in zip(a, a):|    pass", copies=1, **options),
        ]
    one: dict[str, Any] = {"parameters": "a: list[uint256]", "types": ("uint256[]",),
                           "values": ([1, 2, 3],)}  # fmt: skip
    return [
        *cases,
        case("list index", "c = a[1]", **one),
        case("list store", "a[1] = 5", **one),
        case("list augmented store", "a[1] ^= 5", **one),
        case("list append and pop", "a.append(7)|c = a.pop()", **one),
        case("list literal of none", "c: list[uint64] = []"),
        case("list literal of ten", "c: list[uint64] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"),
    ]


def door_cases() -> list[Case]:
    fields = (
        "total: uint256|small: uint64|flag: bool|name: string|owner: address|words: Array[uint256]"
        "|values: Map[uint256, uint256]|pairs: Map[tuple[address, uint256], uint64]"
        "|maybe: Map[uint256, Optional[uint64]]|packed: Map[uint256, Pair]|queue: Array[uint64]"
        "|texts: Map[string, string]|admins = Role()"
    )
    more = (
        "class Pair(Struct):|    first: uint64|    good: bool|class Seen(Event):|    what: uint256"
        "|class Kept(Event):|    who: indexed[address]|    what: indexed[uint256]|    text: string"
    )
    options: dict[str, Any] = {"fields": fields, "more": more}
    text: dict[str, Any] = {**options, "parameters": "a: string", "types": ("string",)}
    return [
        case("load again", "c = self.total", **options),
        case("load again, packed", "c = self.small", **options),
        case("store again", "self.total = turn", **options),
        case("store again, packed", "self.small = turn", **options),
        case("map load again", "c = self.values[5]", **options),
        case("map of two keys", "c = self.pairs[self.owner, 5]", **options),
        case("map of structs, load", "c = self.packed[5]", **options),
        case("map of structs, store", "self.packed[5] = Pair(turn, True)", **options),
        case("map store again", "self.values[5] = turn", **options),
        case("map augmented store", "self.values[5] += 1", **options),
        case("map first load", "c = self.values[turn]", copies=1, **options),
        case("map first store", "self.values[turn] = turn + 1", copies=1, **options),
        case("optional in", "c = 5 in self.maybe", **options),
        case("role in", "c = self.owner in self.admins", **options),
        case("role grant", "self.admins.grant(self.owner)", **options),
        case("array append", "self.queue.append(turn)", copies=1, **options),
        case("array index", "c = self.words[0]", setup="self.words.append(5)", **options),
        case("array len", "c = len(self.words)", **options),
        *[case(f"string {size} load", "c = self.name", setup="self.name = a",
               values=("x" * size,), **text) for size in (5, 100, 3_000)],
        *[case(f"string {size} store", "self.name = a", values=("x" * size,), **text)
          for size in (5, 100, 3_000)],
        *[case(f"string {size} key", "c = self.texts[a]", values=("\u4e16" * size,), **text)
          for size in (5, 100, 3_000)],
        case("event of one word", "self.emit(Seen(turn))", **options),
        *[case(f"event with {size} characters", "self.emit(Kept(self.owner, turn, a))",
               values=("\u4e16" * size,), **text) for size in (5, 100, 3_000)],
        case("balance", "c = self.balance", **options),
    ]  # fmt: skip


CASES = [*integer_cases(), *control_cases(), *text_cases(), *list_cases(), *door_cases()]
