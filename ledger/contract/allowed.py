"""The allow-list as data, for `wattledger contract rules` and the documentation.

What belongs here: what a contract may contain, by kind. Syntax and names come from the tables that
`source` and `annotations` go by; functions and methods, typed one by one, are listed here, and a
test tries each of them, and everything that Python has beside them.
"""

import ast
from typing import NamedTuple

from ledger.contract.annotations import EXPORTS
from ledger.contract.functions import ROUNDINGS
from ledger.contract.library import LIBRARY
from ledger.contract.places import ENVIRONMENT
from ledger.contract.source import FORMS


class Allowed(NamedTuple):
    """One entry: what kind of thing, how it is written, what it takes or does."""

    kind: str
    name: str
    note: str


FUNCTIONS = {
    "abs": "of an integer",
    "all": "of a list of bool, or (... for ...)",
    "any": "of a list of bool, or (... for ...)",
    "bytes": "of a bytesN or an address",
    "divmod": "of two integers, unpacked",
    "enumerate": "in the head of a loop",
    "len": "of a list, an Array, bytes",
    "list": "copies a list, also out of storage",
    "max": "of integers, a list of them, or (... for ...)",
    "min": "of integers, a list of them, or (... for ...)",
    "range": "in the head of a loop",
    "sorted": "of a list of scalars",
    "sum": "of a list of integers, or (... for ...)",
    "super": "super().method(...) in an override",
    "zip": "in the head of a loop",
}
"""Python's own; any other is refused."""
METHODS = {
    "list": ("append", "pop"),
    "bytes": ("decode", "hex", "startswith"),
    "string": ("encode",),
    "Map": ("remove",),
    "Array": ("append", "pop"),
    "Role": ("grant", "revoke"),
    "self": ("emit", "send"),
}
"""By the type of what they are called on; to them come the contract's own and an Interface's."""
_OPERATORS = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


def list_allowed() -> list[Allowed]:
    """Every form, function, method, value and import of the language, in that order."""
    rows: list[Allowed] = []
    for base, kind in ((ast.stmt, "statement"), (ast.expr, "expression")):
        rows += [
            Allowed(kind, form.__name__, ", ".join(sorted(fields - {"ctx"})))
            for form, fields in FORMS.items()
            if issubclass(form, base)
        ]
    rows += [Allowed("operator", f.__name__, "") for f in FORMS if issubclass(f, _OPERATORS)]
    rows += [Allowed("function", name, note) for name, note in FUNCTIONS.items()]
    rows += [Allowed("method", f"{owner}.{n}", "") for owner, ns in METHODS.items() for n in ns]
    for owner, name in ENVIRONMENT:
        rows.append(Allowed("value", ".".join(filter(None, ("self", owner, name))), ""))
    rows += [Allowed("import", name, "") for name in sorted(EXPORTS)]
    rows += [
        Allowed("import", name, f"from the {LIBRARY[name]} contract") for name in sorted(LIBRARY)
    ]
    assert set(ROUNDINGS) <= EXPORTS
    return rows
