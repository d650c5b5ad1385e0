"""What may be called in a method, with what, and what it gives (rules R5, R7, R8, R10).

What belongs here: structs, events, methods of self, of lists and of storage handles. Functions
that are called by a plain name are `functions`. Events are made in `self.emit`, reverts in `raise`,
so that neither is ever a value.
"""

import ast
import copy
from collections.abc import Sequence

from ledger.contract.classes import Function, get_key
from ledger.contract.functions import Functions
from ledger.contract.model import InterfaceModel, Kind, MethodModel, Parameter
from ledger.contract.places import Type, describe, inside, is_self
from ledger.contract.rules import breach
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    HANDLES,
    STRING,
    UINT64,
    UINT256,
    ArrayType,
    ListType,
    MapType,
    RoleType,
)


class Calls(Functions):
    """Types the calls of one contract."""

    def of_Call(self, node: ast.Call) -> Type:
        """A call that gives a value."""
        kind = self.call(node)
        if kind is None:
            raise breach("type", node, "this gives no value")
        return kind

    def call(self, node: ast.Call) -> Type | None:
        """A builtin, a struct, a method of self, or of a list or handle."""
        function = node.func
        if isinstance(function, ast.Name):
            struct = self.declarations.structs.get(function.id)
            if struct is not None:
                fields = tuple(Parameter(*field) for field in struct.fields)
                self.record(node, fields, door=False)
                return struct
            if function.id in self.declarations.interfaces:
                raise breach("handle", node, f"use it in place: {function.id}(address).method()")
            return self.by_name(node, function.id)
        if not isinstance(function, ast.Attribute):
            raise breach("form", node, "call a name or a method")
        if node.keywords:
            raise breach("form", node, "names of arguments are for records only")
        if is_self(function, "emit"):
            self.emit(node)
            return None
        if is_self(function, "send"):
            self.expect_all(node.args, [ADDRESS, UINT256], node, door=False)
            self.parsed.sends = True
            self.writes = self.writes or node
            return None
        if is_self(function.value):
            return self.internal(node, function.attr)
        if self.is_base(function.value):
            return self.of_base(node, function)
        interface = self.find_interface(function.value)
        if interface is not None:
            return self.remote(node, interface)
        return self.on_container(node, function)

    def record(self, node: ast.Call, fields: Sequence[Parameter], door: bool) -> None:
        """The arguments of a struct, event or revert: by place, then by name, each once."""
        names = [item.name for item in fields]
        given = dict(zip(names, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg not in names or keyword.arg in given:
                raise breach("type", node, f"fields are {', '.join(names)}, each once")
            given[keyword.arg] = keyword.value
        if len(given) != len(names) or len(node.args) > len(names):
            raise breach("type", node, f"fields are {', '.join(names)}, each once")
        for item in fields:
            self.expect(given[item.name], item.type, door)

    def emit(self, node: ast.Call) -> None:
        event = node.args[0] if len(node.args) == 1 else None
        name = event.func if isinstance(event, ast.Call) else None
        known = self.declarations.events.get(getattr(name, "id", ""))
        if known is None or not isinstance(event, ast.Call):
            raise breach("type", node, "self.emit(MyEvent(...)), made in place")
        self.record(event, known.fields, door=True)
        self.writes = self.writes or node

    def internal(self, node: ast.Call, name: str) -> Type | None:
        """`self.name(...)`: the method that the deployed contract has under this name."""
        function = self.parsed.top.find(name) if self.owner.find(name) else None
        if function is None:
            raise breach("attribute", node, f"there is no method {name}")
        defaults = function.node.args.defaults
        missing = len(function.model.parameters) - len(node.args)
        if 0 < missing <= len(defaults):
            node.args += [copy.copy(item) for item in defaults[len(defaults) - missing :]]
        method, hidden = function.model, (Kind.CONSTRUCTOR, Kind.MIGRATION)
        if method.kind in hidden or method.role or method.payable:
            raise breach("attribute", node, "its door would be passed by: move the body to _helper")
        return self.enter(node, name, method, node.args)

    def enter(
        self, node: ast.Call, key: str, method: MethodModel, arguments: list[ast.expr]
    ) -> Type | None:
        self.expect_all(arguments, [item.type for item in method.parameters], node, door=False)
        self.check_gathering(node)
        self.calls.setdefault(key, node)
        self.keys_called[node] = key
        return None if method.returns is None else inside(method.returns)

    def check_gathering(self, node: ast.Call) -> None:
        """R8: no method below a comprehension, whose frames differ between versions of Python."""
        if self.gathering:
            raise breach("call-depth", node, "call it in a for loop")

    def is_base(self, node: ast.expr) -> bool:
        """Whether this is `super()`, or a contract class by name."""
        if isinstance(node, ast.Call):
            return getattr(node.func, "id", "") == "super" and not node.args and not node.keywords
        return isinstance(node, ast.Name) and node.id in self.declarations.classes

    def of_base(self, node: ast.Call, function: ast.Attribute) -> Type | None:
        """`super().name(...)` or `Base.name(self, ...)`: what an override has hidden."""
        name, arguments, order = function.attr, node.args, self.parsed.top.mro
        found: Function | None = None
        if isinstance(function.value, ast.Name):
            base = self.declarations.classes[function.value.id]
            if base not in self.owner.mro[1:] or not arguments or not is_self(arguments[0]):
                raise breach("attribute", node, f"{base.name}.method(self, ...) of a base")
            found, arguments = base.find(name), arguments[1:]
        else:
            after = order[order.index(self.owner) + 1 :]
            found = next((each.functions[name] for each in after if name in each.functions), None)
        if found is None:
            raise breach("attribute", node, f"no base has a method {name}")
        method = found.model
        if method.kind is Kind.CONSTRUCTOR:
            self.check_construction(node)
            if get_key(self.parsed.top, found) in self.calls:
                raise breach("class", node, "a base's __init__ runs once")
        elif method.role or method.payable or method.kind is Kind.MIGRATION:
            mine = self.method
            if (mine.name, mine.role, mine.payable) != (name, method.role, method.payable):
                raise breach("attribute", node, "its door would be passed by")
        return self.enter(node, get_key(self.parsed.top, found), method, arguments)

    def check_construction(self, node: ast.Call) -> None:
        """A base is made once: its constructor is called at the top of this class's own."""
        top = [item.value for item in self.body if isinstance(item, ast.Expr)]
        if self.method.kind is not Kind.CONSTRUCTOR or node not in top:
            raise breach("attribute", node, "a base's __init__ is called in __init__ alone")

    def find_interface(self, node: ast.expr) -> InterfaceModel | None:
        """The interface of a proxy, `Token(address)`, where this is one."""
        name = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        return self.declarations.interfaces.get(name)

    def remote(self, node: ast.Call, interface: InterfaceModel) -> Type | None:
        """`Token(address, value=..., gas=...).transfer(...)`: a view is a static call."""
        function = node.func
        assert isinstance(function, ast.Attribute)
        proxy = function.value
        assert isinstance(proxy, ast.Call)
        method = next((each for each in interface.methods if each.name == function.attr), None)
        if method is None:
            raise breach("attribute", node, f"{interface.name} has no method {function.attr}")
        self.expect_all(proxy.args, [ADDRESS], proxy, door=False)
        given = [keyword.arg for keyword in proxy.keywords]
        if len(set(given)) < len(given) or not set(given) <= {"value", "gas"}:
            raise breach("type", proxy, "Token(address, value=wei, gas=budget), each once")
        if "value" in given and not method.payable:
            raise breach("type", proxy, f"{method.name} is not @payable")
        for keyword in proxy.keywords:
            self.expect(keyword.value, UINT256 if keyword.arg == "value" else UINT64)
        self.expect_all(node.args, [item.type for item in method.parameters], node, door=True)
        self.check_gathering(node)
        self.remotes[node] = interface.name, method.name
        if method.kind is not Kind.VIEW:
            self.writes = self.writes or node
        return None if method.returns is None else inside(method.returns)

    def on_container(self, node: ast.Call, function: ast.Attribute) -> Type | None:
        """append, pop; remove; grant, revoke."""
        owner, name, arguments = self.place(function.value), function.attr, node.args
        result: Type | None = None
        stored = not isinstance(owner, ListType) or function.value in self.stored
        if isinstance(owner, ArrayType) and isinstance(owner.element, HANDLES):
            if name != "append" or arguments:
                raise breach("attribute", node, "append() makes room for one more, [i] is used on")
        elif isinstance(owner, ArrayType | ListType) and name in ("append", "pop"):
            wanted = [owner.element] if name == "append" else []
            self.expect_all(arguments, wanted, node, door=stored)
            result = None if wanted else inside(owner.element)
        elif isinstance(owner, RoleType) and name in ("grant", "revoke"):
            self.expect_all(arguments, [ADDRESS], node, door=True)
        elif isinstance(owner, MapType) and name == "remove" and len(arguments) == 1:
            if isinstance(owner.value, MapType | ArrayType | RoleType):
                raise breach("type", node, "only a single value is removed")
            self.keys(arguments[0], owner)
        else:
            text = self.on_text(node, owner, name)
            if text is None:
                raise breach("attribute", node, f"{describe(owner)} has no such method")
            return text
        if stored:
            self.writes = self.writes or node
        else:
            self.check_not_iterated(function.value)
            self.helpers[node] = name
        return result

    def on_text(self, node: ast.Call, owner: Type, name: str) -> Type | None:
        """`text.encode()`, `data.decode()`, `data.hex()`, `data.startswith(other)`."""
        if owner == STRING and name == "encode" and not node.args:
            self.helpers[node] = "encode"
            return BYTES
        if owner == BYTES and name in ("decode", "hex") and not node.args:
            self.helpers[node] = name
            return STRING
        if owner == BYTES and name == "startswith" and len(node.args) == 1:
            self.expect(node.args[0], BYTES)
            self.helpers[node] = "begins"
            return BOOL
        return None

    def check_not_iterated(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name) and node.id in self.iterated:
            raise breach("iteration", node)
