"""Contracts made by anybody who picks numbers: the allowed language, all of its types and doors.

Most are accepted; some are not, on purpose: a width that does not hold, a name out of place. What
they do is mostly senseless and often ends in a panic or without gas, which is what is wanted.
"""

from typing import Any

from tests.determinism.play import Pick

IMPORTS = (
    "ZERO_ADDRESS, Array, Contract, Enum, Event, Map, Optional, Revert, Role, Struct, abi_decode,"
    " abi_encode, address, bytes4, bytes32, ecrecover, indexed, int64, int256, keccak256, mul_div,"
    " payable, string, uint8, uint64, uint128, uint256, view, write, ROUND_FLOOR, ROUND_CEILING,"
    " ROUND_HALF_UP, ROUND_HALF_EVEN, CallFailed, Fixed, Interface, abi_encode_packed,"
    " coin_balance, eip712_digest, eip712_domain, has_code, hash_struct, interface_id, override"
)
RECORDS = """
class Mode(Enum):
    OFF = 0
    ON = 1
    SOLD = 2
class Pair(Struct):
    first: uint64
    good: bool
    who: address
class Box(Struct):
    pair: Pair
    items: list[uint64]
    three: Fixed[list[uint64], 3]
    label: string
class Seen(Event):
    who: indexed[address]
    what: indexed[uint256]
    text: string
    data: bytes
class Refused(Revert):
    why: uint256
    text: string
class Other(Interface):
    @view
    def run_0(self) -> uint256: ...
    @view
    def run_1(self, some: uint256, text: string) -> list[uint256]: ...
    @payable
    def run_2(self) -> None: ...
SEED = 12345678901234567890
"""
LOW = """class Low(Contract):
    level: uint256
    def _rise(self, by: uint256, more: uint256 = 2) -> uint256:
        self.level += (by + more) % 7
        return self.level
"""
OVERRIDE = """
    @override
    def _rise(self, by: uint256, more: uint256 = 1) -> uint256:
        if by > 5:
            return super()._rise(by, more)
        return Low._rise(self, by, more) + super()._rise(3, 0)
"""
FIELDS = """
    total: uint256
    small: uint8
    signed: int64
    flag: bool
    boss: address
    mode: Mode
    label: string
    data: bytes
    tag: bytes4
    values: Map[uint256, uint256]
    names: Map[string, string]
    maybe: Map[uint64, Optional[uint64]]
    pairs: Map[tuple[address, uint256], Pair]
    nested: Map[address, Map[uint64, int256]]
    queue: Array[uint64]
    items: Array[Pair]
    history: Map[uint64, Array[uint256]]
    hours: Fixed[list[uint64], 4]
    pair: Pair
    box: Box
    boxes: Map[uint64, Box]
    wide: Map[uint64, Fixed[list[uint64], 3]]
    rows: Array[Array[uint64]]
    admins = Role()
"""
TYPES = {
    "int": ("uint8", "uint64", "uint128", "uint256", "int64", "int256"),
    "bool": ("bool",), "address": ("address",), "word": ("bytes32",), "bytes": ("bytes",),
    "string": ("string",), "list": ("list[uint256]",), "pair": ("Pair",),
    "mode": ("Mode",),
}  # fmt: skip
LITERALS: dict[str, tuple[str, ...]] = {
    "int": ("0", "1", "2", "3", "-1", "7", "255", "2**64", "SEED", "10**18", "2**255", "-(2**200)"),
    "bool": ("True", "False"),
    "address": (
        "ZERO_ADDRESS",
        "self.msg.sender",
        "self.address",
        "self.boss",
        "self.boss",
    ),
    "word": ('keccak256(b"a")', 'keccak256(b"")'),
    "bytes": ('b""', 'b"abc"', 'b"0123456789" b"0123456789abcdefghijklmnop"', "self.data"),
    "string": ('""', '"a"', '"0123456789012345678901234567890"', '"\\u4e16\\u754c"', "self.label"),
    "mode": ("Mode.OFF", "Mode.ON", "Mode.SOLD", "self.mode"),
}
ROUNDINGS = ("ROUND_FLOOR", "ROUND_CEILING", "ROUND_HALF_UP", "ROUND_HALF_EVEN")
DECORATORS = (
    "view", "write", "write", "payable", "write(by=admins)", "write(reentrant=True)",
    "payable(reentrant=True)",
)  # fmt: skip
BASES: dict[str, tuple[str, list[tuple[str, str, list[str]]]]] = {
    "Contract": ("", []),
    "Low": ("", [("_rise", "int", ["int"])]),
    "Ownable": ("Ownable.__init__(self, self.msg.sender)", [("_set_owner", "", ["address"])]),
    "Pausable": ("", [("_pause", "", []), ("_unpause", "", []), ("paused", "bool", [])]),
    "Roles": ("", [("_grant_role", "", ["word", "address"])]),
    "Token": (
        'Token.__init__(self, "Watt", "W")',
        [("_mint", "", ["address", "int"]), ("_transfer", "", ["address", "address", "int"])],
    ),
}
"""Each with the statement that makes it, and those of its methods that are called."""
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")


class Grammar:
    """Writes one contract; knows the names in scope by kind."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.lines: list[str] = []
        self.scope: dict[str, list[str]] = {}
        self.count = 0
        self.loops = 0
        self.iterated: list[str] = []
        self.helpers: list[tuple[str, str, list[str]]] = []
        self.returns: str | None = None
        self.gathering = 0
        self.maker = ""

    def choose(self, *options: Any) -> Any:
        return options[self.pick(len(options))]

    def fresh(self, kind: str) -> str:
        self.count += 1
        name = f"{kind[0]}{self.count}"
        self.scope.setdefault(kind, []).append(name)
        return name

    def contract(self) -> str:
        base = self.choose("Contract", "Contract", *BASES)
        self.maker, known = BASES[base]
        self.helpers += known
        if base == "Low" and self.pick(2):
            self.lines += OVERRIDE.splitlines()
        if self.maker or self.pick(2):
            self.method("__init__", "", False)
        for number in range(self.pick(3)):
            self.method(f"_help_{number}", "", True)
        for number in range(1 + self.pick(3)):
            decorator = self.choose(*DECORATORS)
            self.method(f"run_{number}", decorator, self.pick(2) == 1)
        if self.pick(3) == 0:
            self.returns, self.scope = None, {}
            self.lines += ["    @payable", "    def receive(self) -> None:"]
            self.lines.append(f"        {self.fresh('list')}: list[uint256] = []")
            self.block(3, 2)
        head = f"from ledger.contract import ({IMPORTS})\n{RECORDS}"
        if base == "Low":
            head += LOW
        elif base != "Contract":
            head = head.replace("Contract,", f"Contract, {base},")
        return f"{head}class Made({base}):{FIELDS}" + "\n".join(self.lines) + "\n"

    def method(self, name: str, decorator: str, gives: bool) -> None:
        self.scope, self.loops, kinds = {}, 0, [self.choose(*TYPES) for _ in range(self.pick(4))]
        if name == "__init__":
            kinds = []
        declared = [f"{self.fresh(kind)}: {self.choose(*TYPES[kind])}" for kind in kinds]
        self.returns = self.choose(*TYPES) if gives else None
        result = self.choose(*TYPES[self.returns]) if self.returns else "None"
        if decorator:
            self.lines.append(f"    @{decorator}")
        self.lines.append(f"    def {name}({', '.join(['self', *declared])}) -> {result}:")
        self.lines.append(f"        {self.fresh('list')}: list[uint256] = {self.literal_list(0)}")
        if name == "__init__" and self.maker:
            self.lines.append(f"        {self.maker}")
        if name == "__init__" and self.pick(3):
            self.lines.append("        self.admins.grant(self.msg.sender)")
        self.block(3, 2)
        if self.returns:
            value = self.narrow(2) if self.returns == "int" else self.expression(self.returns, 2)
            self.lines.append(f"        return {value}")
        if name.startswith("_h"):
            self.helpers.append((name, self.returns or "", kinds))

    def narrow(self, depth: int) -> str:
        """An int that fits any type."""
        return f"abs({self.expression('int', depth)}) % {self.choose('100', '7', '256')}"

    def block(self, size: int, indent: int) -> None:
        outer = {kind: list(names) for kind, names in self.scope.items()}
        for _ in range(1 + self.pick(size)):
            self.statement("    " * indent, indent)
        self.scope = outer if indent > 2 else self.scope

    # -- statements --------------------------------------------------------------------------

    def statement(self, tab: str, indent: int) -> None:
        kind = self.pick(20)
        if kind >= 18:
            self.call_out(tab, indent)
        elif kind < 4:
            what = self.choose(*TYPES)
            value = self.expression(what, 2)
            if what == "list":
                value = self.choose(self.literal_list(1), self.make_list(2), self.repetition())
            annotation = f": {self.choose(*TYPES[what])}" if what == "list" else ""
            self.lines.append(f"{tab}{self.fresh(what)}{annotation} = {value}")
        elif kind == 4:
            names = [one for one in self.scope.get("int", ()) if one != "SEED"]
            op = self.choose("+", "-", "*", "//", "%", "^", "&", "|", ">>", "<<", "**")
            target = self.choose(*names, "self.total", "self.values[3]")
            self.lines.append(f"{tab}{target} {op}= {self.expression('int', 2)}")
        elif kind < 9:
            self.lines += [tab + line for line in self.store()]
        elif kind == 9:
            self.lines.append(tab + self.over_list())
        elif kind == 10:
            self.lines.append(f"{tab}if {self.expression('bool', 2)}:")
            self.lines.append(f"{tab}    {self.leave()}")
        elif kind == 11:
            arguments = ", ".join(
                self.expression(one, 1) for one in ("address", "int", "string", "bytes")
            )
            self.lines.append(f"{tab}self.emit(Seen({arguments}))")
        elif kind == 12 and self.helpers:
            name, _, kinds = self.choose(*self.helpers)
            self.lines.append(f"{tab}self.{name}({self.arguments(kinds)})")
        elif kind == 13:
            one, two = self.expression("int", 2), self.expression("int", 2)
            self.lines.append(
                f"{tab}{self.fresh('int')}, {self.fresh('int')} = divmod({one}, {two})"
            )
        elif kind < 15 or self.loops == 3 or indent > 6:
            self.lines.append(f"{tab}if {self.expression('bool', 2)}:")
            self.block(2, indent + 1)
            if self.pick(2):
                self.lines.append(f"{tab}else:")
                self.block(2, indent + 1)
        else:
            self.loop(tab, indent)

    def call_out(self, tab: str, indent: int) -> None:
        """A call of another contract (most often of this one, from outside), or coin sent."""
        to, n = self.expression("address", 1), self.narrow(1)
        gas = self.choose("", "", ", gas=5000", f", gas={n}", ", gas=300000")
        name = f"r{self.count}"
        self.count += 1
        line = self.choose(
            f"{name} = Other({to}{gas}).run_0()",
            f"self.values[{n}] = Other({to}{gas}).run_0()",
            f"self.box.pair.first = Other({to}{gas}).run_0()",
            f"{name} = Other({to}{gas}).run_1({n}, {self.expression('string', 1)})",
            f"Other({to}, value={n}{gas}).run_2()",
            f"Other({to}{gas}).run_2()",
            f"self.send({to}, {n})",
        )
        if self.pick(2):
            self.lines.append(f"{tab}{line}")
            return
        self.lines += [f"{tab}try:", f"{tab}    {line}"]
        if self.pick(2):
            self.lines.append(f"{tab}except Refused as e{self.count}:")
            self.lines.append(f"{tab}    self.total = e{self.count}.why")
        self.lines.append(f"{tab}except CallFailed:")
        self.block(2, indent + 1)

    def leave(self) -> str:
        options = [f"raise Refused({self.expression('int', 1)}, {self.expression('string', 1)})"]
        options += ["break", "continue"] if self.loops else []
        if self.returns is None:
            options.append("return")
        return str(self.choose(*options))

    def loop(self, tab: str, indent: int) -> None:
        outer = {kind: list(names) for kind, names in self.scope.items()}
        iterated, kind = list(self.iterated), self.pick(5)
        items, other = self.make_list(0), self.make_list(0)
        if kind == 0:
            bound = self.choose("3", "10", "1000000", "2**31", self.narrow(1))
            self.lines.append(f"{tab}for {self.fresh('int')} in range({bound}):")
        elif kind == 1:
            self.lines.append(f"{tab}for {self.fresh('int')} in {items}:")
        elif kind == 2:
            one, two = self.fresh("int"), self.fresh("int")
            self.lines.append(f"{tab}for {one}, {two} in enumerate({items}):")
        elif kind == 3:
            one, two = self.fresh("int"), self.fresh("int")
            self.lines.append(f"{tab}for {one}, {two} in zip({items}, {other}):")
        else:
            name = self.fresh("int")
            self.lines += [f"{tab}{name} = 0", f"{tab}while {self.expression('bool', 1)}:"]
            self.lines.append(f"{tab}    {name} += 1")
        self.iterated += [items, other]
        self.loops += 1
        self.block(2, indent + 1)
        self.loops -= 1
        self.scope, self.iterated = outer, iterated

    def store(self) -> list[str]:
        n, a = self.narrow(1), self.expression("address", 1)
        whole, text = self.expression("int", 2), self.expression("string", 2)
        return [
            self.choose(
                f"self.total = {whole}", f"self.small = {n}", f"self.signed = {whole}",
                f"self.flag = {self.expression('bool', 2)}", f"self.boss = {a}",
                f"self.mode = {self.expression('mode', 1)}", f"self.label = {text}",
                f"self.data = {self.expression('bytes', 2)}",
                f"self.values[{n}] = {whole}", f"self.values[{whole}] += {n}",
                f"self.names[{text}] = {self.expression('string', 1)}",
                f"self.maybe[{n}] = {n}", f"self.maybe.remove({n})",
                f"self.pairs[{a}, {n}] = {self.expression('pair', 1)}",
                f"self.nested[{a}][{n}] -= {n}", f"self.queue.append({n})",
                f"self.items.append({self.expression('pair', 1)})",
                f"self.history[{n}].append({n})", f"self.queue[{n}] = {n}", "self.queue.pop()",
                f"self.pairs[{a}, {n}].first = {n}", f"self.items[{n}].first += {n}",
                f"self.hours[{n}] = {n}", "self.pair.good = self.flag", f"self.pair.who = {a}",
                f"self.admins.grant({a})", f"self.admins.revoke({a})",
                f"self.hours = [{n}, {n}, 1, {n}]", f"self.hours[{n}] += {n}",
                f"self.wide[{n}] = [{n}, 2, {n}]", f"self.wide[{n}][{n}] -= {n}",
                f"self.box.items.append({n})", f"self.box.items[0] += {n}",
                f"self.box.items = [{n}, {n}]", f"self.box.three[{n}] = {n}",
                f"self.box.label = {text}", f"self.box.pair = {self.expression('pair', 1)}",
                f"self.boxes[{n}].pair.first += {n}", f"self.boxes[{n}].items.append({n})",
                f"self.boxes[{n}] = {self.box(n)}", f"self.box = {self.box(n)}",
                "self.rows.append()", f"self.rows[{n}].append({n})",
            )
        ]  # fmt: skip

    def box(self, n: str) -> str:
        made = f"Box({self.expression('pair', 1)}, [{n}], three=[1, {n}, 3], label=self.label)"
        return str(self.choose(made, made, "self.box", f"self.boxes[{n}]"))

    def over_list(self) -> str:
        names = [
            one for one in self.scope["list"] if one not in self.iterated or self.pick(20) == 0
        ]
        if not names:
            return "pass"
        name, n = self.choose(*names), self.narrow(1)
        return str(
            self.choose(
                f"{name}.append({n})", f"{name}[{n}] = {n}", f"{name}.pop()", f"{name}[0] += {n}"
            )
        )

    # -- expressions -------------------------------------------------------------------------

    def arguments(self, kinds: list[str]) -> str:
        return ", ".join(
            self.narrow(1) if kind == "int" else self.expression(kind, 1) for kind in kinds
        )

    def expression(self, kind: str, depth: int) -> str:
        names = self.scope.get(kind, [])
        if names and self.pick(3) == 0:
            return str(self.choose(*names))
        if depth <= 0:
            simple = LITERALS.get(kind)
            if simple:
                return str(self.choose(*names, *simple))
        known = [one for one in self.helpers if one[1] == kind]
        if known and not self.gathering and self.pick(5) == 0:
            name, _, kinds = self.choose(*known)
            return f"self.{name}({self.arguments(kinds)})"
        if depth > 0 and self.pick(8) == 0 and kind != "list":
            one, two = self.expression(kind, depth - 1), self.expression(kind, depth - 1)
            return f"({one} if {self.expression('bool', depth - 1)} else {two})"
        return str(getattr(self, f"make_{kind}")(depth - 1))

    def make_int(self, depth: int) -> str:
        kind = self.pick(9)
        one = self.expression("int", depth)
        if kind < 4:
            two = self.expression("int", depth)
            op = self.choose("+", "-", "*", "//", "%", "&", "|", "^", ">>", "<<", "**", "+", "-")
            return f"({one} {op} {two})"
        if kind == 4:
            return str(self.choose(f"abs({one})", f"(-{one})", f"(~{one})"))
        if kind == 5:
            return f"{self.choose('min', 'max')}({one}, {self.expression('int', depth)})"
        items, n = self.expression("list", depth), self.narrow(depth)
        if kind == 6:
            data = self.expression("bytes", depth)
            return str(
                self.choose(
                    f"{self.choose('sum', 'max', 'min')}({self.gather('int', depth)})",
                    f"uint256({self.expression('word', depth)})",
                    f"uint8({self.expression('mode', depth)})",
                    f"{data}[{n}]",
                    f"len({items})",
                    f"sum({items})",
                    f"max({items})",
                    f"{items}[{n}]",
                    f"len({self.expression('bytes', depth)})",
                    f"mul_div({one}, {n}, {n}, {self.choose(*ROUNDINGS)})",
                )
            )
        return str(
            self.choose(
                "self.total",
                "self.small",
                "self.signed",
                f"self.values[{n}]",
                f"self.maybe[{n}]",
                "self.block.timestamp",
                "self.block.number",
                "self.msg.value",
                "self.balance",
                "len(self.queue)",
                "len(self.box.items)",
                "sum(list(self.queue))",
                "max(list(self.hours))",
                f"self.box.three[{n}]",
                f"self.boxes[{n}].items[{n}]",
                "self.box.pair.first",
                f"self.rows[{n}][{n}]",
                f"self.hours[{n}]",
                f"uint64({one})",
                "coin_balance(self.msg.sender)",
                f"self.queue[{n}]",
                f"self.items[{n}].first",
                f"self.history[{n}][{n}]",
                f"{self.expression('pair', depth)}.first",
                f"self.nested[{self.expression('address', depth)}][{n}]",
            )
        )

    def make_bool(self, depth: int) -> str:
        kind, n = self.pick(6), self.narrow(depth)
        if kind < 2:
            one, two = self.expression("int", depth), self.expression("int", depth)
            more = f" {self.choose(*COMPARISONS)} {n}" if self.pick(4) == 0 else ""
            return f"({one} {self.choose(*COMPARISONS)} {two}{more})"
        if kind == 2:
            one, two = self.expression("bool", depth), self.expression("bool", depth)
            return str(self.choose(f"({one} and {two})", f"({one} or {two})", f"(not {one})"))
        if kind == 3:
            what = self.choose("string", "bytes", "address", "word", "mode")
            sign = self.choose("==", "!=")
            return f"({self.expression(what, depth)} {sign} {self.expression(what, depth)})"
        return str(
            self.choose(
                "self.flag",
                f"({n} in self.maybe)",
                f"({self.expression('address', depth)} in self.admins)",
                f"({n} in {self.expression('list', depth)})",
                f"({n} not in {self.expression('list', depth)})",
                f"{self.choose('any', 'all')}({self.gather('bool', depth)})",
                f"{self.expression('bytes', depth)}.startswith({self.expression('bytes', 0)})",
                f"has_code({self.expression('address', depth)})",
                f"{self.expression('pair', depth)}.good",
            )
        )

    def make_address(self, depth: int) -> str:
        word, data = self.expression("word", depth), self.expression("bytes", depth)
        return str(
            self.choose(
                *LITERALS["address"],
                f"{self.expression('pair', depth)}.who",
                f"ecrecover({word}, {data})",
                f"ecrecover({word}, 27, {word}, keccak256({data}))",
                f"address({data}[0:20])",
            )
        )

    def make_word(self, depth: int) -> str:
        data, pair = self.expression("bytes", depth), self.expression("pair", depth)
        return str(
            self.choose(
                f"keccak256({data})", f"hash_struct({pair})", f"abi_decode({data}, bytes32)",
                f"eip712_domain({self.expression('string', depth)}, self.label)",
                f"bytes32({self.narrow(depth)})", f"bytes32({data}[0:32])",
                f"eip712_digest(keccak256({data}), hash_struct(self.box))",
            )
        )  # fmt: skip

    def make_bytes(self, depth: int) -> str:
        one, n = self.expression("bytes", depth), self.narrow(depth)
        kinds = [
            self.choose("int", "bool", "string", "bytes", "list") for _ in range(1 + self.pick(2))
        ]
        return str(
            self.choose(
                f"({one} + {self.expression('bytes', depth)})",
                f"{one}[{n}:]",
                f"{one}[0:{n}]",
                f"abi_encode({self.arguments(kinds)})",
                f"bytes({self.expression('word', depth)})",
                f"bytes({self.expression('address', depth)})",
                f"{self.expression('string', depth)}.encode()",
                f"abi_encode_packed(uint64({n}), {one})",
                "bytes(interface_id(Other))",
            )
        )

    def make_string(self, depth: int) -> str:
        one = self.expression("string", depth)
        return str(
            self.choose(
                f"({one} + {self.expression('string', depth)})",
                f"self.names[{one}]",
                f"{self.expression('bytes', depth)}.hex()",
                f"{self.expression('bytes', depth)}.decode()",
                "self.box.label",
            )
        )

    def literal_list(self, depth: int) -> str:
        """Only where a list is declared: elsewhere it has no type."""
        return f"[{', '.join(self.narrow(depth) for _ in range(self.pick(4)))}]"

    def repetition(self) -> str:
        return f"[{self.narrow(1)}] * ({self.narrow(1)})"

    def gather(self, kind: str, depth: int) -> str:
        """The inside of a comprehension; no method is called in it."""
        items, name = self.make_list(0), f"g{self.count}"
        self.count += 1
        number = self.narrow(0)
        head = self.choose(items, items, f"range({number})", "list(self.queue)", "list(self.hours)")
        names, self.scope["int"] = self.scope.get("int", []), [*self.scope.get("int", []), name]
        self.gathering += 1
        if self.pick(5) == 0:
            target, head = f"{name}_, {name}", f"{self.choose('enumerate', 'zip')}({items})"
            head = head.replace(")", f", {self.make_list(0)})") if head[0] == "z" else head
        else:
            target = name
        value = self.narrow(depth) if kind == "int" else self.expression(kind, depth)
        tests = "".join([f" if {self.expression('bool', 1)}" for _ in range(self.pick(3))])
        self.gathering -= 1
        self.scope["int"] = names
        return f"{value} for {target} in {head}{tests}"

    def make_list(self, depth: int) -> str:
        name = str(self.choose(*self.scope["list"]))
        if depth <= 0 or self.pick(3) == 0:
            return name
        other, n = self.make_list(depth - 1), self.narrow(0)
        return str(
            self.choose(
                f"({name} + {other})", f"{name}[{n}:]", f"{name}[0:{n}]", f"sorted({other})",
                f"list({name})", f"[{self.gather('int', depth - 1)}]",
            )
        )  # fmt: skip

    def make_pair(self, depth: int) -> str:
        n, a = self.narrow(depth), self.expression("address", depth)
        made = f"Pair({n}, {self.expression('bool', depth)}, {a})"
        return str(self.choose(made, f"self.items[{n}]", f"self.pairs[{a}, {n}]"))

    def make_mode(self, depth: int) -> str:
        return str(self.choose(*LITERALS["mode"], f"Mode({self.narrow(depth)})"))


def write_contract(pick: Pick) -> str:
    return Grammar(pick).contract()
