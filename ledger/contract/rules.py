"""The rules a contract source must keep, each by name, with what it asks and what to do instead.

What belongs here: the one table, and how a breach becomes a ContractRejected that points into the
source. Which tree nodes break which rule is said where they are met: `source` (R1 to R3), `parse`
(R4, R6, R7), `check` (R4, R5, R7, R8, R10, R11). The letters are those of the sandbox's design;
R9, R12 and R13 bind the host, not the author.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ledger.errors import ContractRejected

TEXT_SHOWN_MAX = 60
"""Characters of the offending line in an error: enough to find it, too few to flood a log."""


class Rule(NamedTuple):
    """One rule: its name in errors, its letter in the documentation, what it asks, what to do."""

    name: str
    letter: str
    what: str
    hint: str


RULES_VERSION = 1
"""Named by the chain: another table of rules or prices is another version."""

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("source-size", "R1", "a source has at most 49,152 bytes", "split the contract"),
        Rule(
            "source-ascii", "R1", "printable ASCII and newlines only", "use spaces and plain text"
        ),
        Rule("source-cookie", "R1", "no encoding cookie", "remove the coding comment"),
        Rule("source-escape", "R1", r"no \N{...} escape", r"write \xNN or \uNNNN"),
        Rule("syntax", "R2", "Python 3.11's grammar", "run it through python3.11 first"),
        Rule("nesting", "R2", "brackets and trees nest at most 48 deep", "name the parts"),
        Rule("loop-depth", "R2", "loops nest at most 8 deep", "move the inner loops to a method"),
        Rule("node-count", "R2", "at most 16,000 nodes in the tree", "split the contract"),
        Rule("literal", "R2", "ints below 2**256, text up to 1,024 characters", "shorten it"),
        Rule("form", "R3", "only the listed statements and expressions", "use a plainer form"),
        Rule("binding", "R4", "no store to a name that means something else", "rename it"),
        Rule("name", "R4", "every name is known where it is read", "declare or import it"),
        Rule("unassigned", "R4", "every local is assigned on all paths", "assign it before"),
        Rule("attribute", "R5", "only attributes that the type has", "see the language's tables"),
        Rule("module", "R6", "one import, constants, records and one Contract", "remove the rest"),
        Rule("import", "R6", "one `from ledger.contract import` of its names", "list the names"),
        Rule("constant", "R6", "a module constant is one literal", "write the value out"),
        Rule(
            "class", "R6", "one known base; a docstring, declarations, methods", "remove the rest"
        ),
        Rule("decorator", "R6", "view, write, write(by=role), payable", "use one of these"),
        Rule("override", "R7", "@override exactly where a base has the method", "mark or rename"),
        Rule("annotation", "R6", "declared with a type of the language", "use a listed type"),
        Rule("type", "R7", "every expression has one static type", "make the types agree"),
        Rule("abi-name", "R7", "every name outside is used once", "rename one of them"),
        Rule("control", "R8", "raise only a declared revert, in place", "raise MyRevert(...)"),
        Rule("unreachable", "R8", "no code after return, raise, break", "remove the dead code"),
        Rule("missing-return", "R8", "every path returns what is declared", "return a value"),
        Rule("call-depth", "R8", "calls never recurse, chains have at most 32", "use a loop"),
        Rule("view-writes", "R8", "a view reaches no write", "make it @write"),
        Rule("handle", "R10", "storage handles are used where they stand", "read a value first"),
        Rule("iteration", "R11", "a list is not changed while iterated", "collect the changes"),
    )
}


class Breach(Exception):
    """A rule broken at a node or at (line, column); becomes a ContractRejected in `located`."""

    def __init__(self, rule: str, line: int, column: int, hint: str | None) -> None:
        super().__init__(rule)
        self.rule = RULES[rule]
        self.line = line
        self.column = column
        self.hint = hint or self.rule.hint


def breach(rule: str, at: ast.AST | tuple[int, int], hint: str | None = None) -> Breach:
    """To be raised: `rule` is broken at a node, or at a (line, column) counted from 1, 1."""
    if isinstance(at, ast.AST):
        at = getattr(at, "lineno", 1), getattr(at, "col_offset", 0) + 1
    return Breach(rule, *at, hint)


@contextmanager
def located(source: bytes) -> Iterator[None]:
    """Turn a Breach into the ContractRejected that shows the offending text of `source`."""
    try:
        yield
    except Breach as broken:
        lines = source.decode("ascii", "replace").split("\n")
        line = lines[broken.line - 1] if 0 < broken.line <= len(lines) else ""
        text = line[broken.column - 1 :][:TEXT_SHOWN_MAX].strip()
        raise ContractRejected(
            broken.rule.name, broken.line, broken.column, text, broken.hint
        ) from None
