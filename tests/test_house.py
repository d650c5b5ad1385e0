"""The rooms of the house and who may import whom, kept over the syntax tree.

The rules are those of the design: `ledger` is pure and layered, `contracts_py` imports exactly
`ledger.contract`, `meter` nothing of `node`, and nobody but tests and benchmarks imports `node`.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("ledger", "meter", "node", "contracts_py")

# A module may import what stands on its own line or above, never what stands below.
LEDGER_LAYERS = (
    ("ledger.errors", "ledger.types"),
    ("ledger.crypto", "ledger.encoding"),
    ("ledger.trie",),
    ("ledger.transaction", "ledger.receipt", "ledger.block", "ledger.work", "ledger.genesis"),
    ("ledger.state",),
    ("ledger.permissions",),
    ("ledger.contract",),
    ("ledger.transition", "ledger.pool", "ledger.store", "ledger.light", "ledger.consensus"),
    ("ledger.genesis_block", "ledger.unflushed", "ledger.candidates"),
    ("ledger.history",),
    ("ledger.chain",),
    ("ledger.branches",),
)
# Purity: what a library without sockets, threads, clocks and randomness has no use for.
FORBIDDEN_IN_LEDGER = {
    "aiohttp", "asyncio", "datetime", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
# Who may use one of them all the same, and what for.
EXCEPTIONS = {
    "ledger.store": {"os", "pathlib"},  # files
    "ledger.contract.testing": {"pathlib"},  # the kit of authors reads the source under test
    "ledger.crypto.keystore": {"uuid"},  # writes an id out of random bytes that the caller gave
}
# Three books, read one after the other. The first, the ledger proper, is read in a weekend; the
# language of contracts and the engines are a book each, for who writes contracts or runs networks.
# None has room for much more: what is added is paid for by what is taken out.
BOOK_LINES_MAX = {"ledger": 7_000, "ledger.contract": 9_700, "ledger.consensus": 2_400}
FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
UNEXPLAINED_LINES_MAX = 10
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules(room: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / room).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions; relative ones start with a dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names if not node.level)
    return found


def layer_of(name: str) -> int | None:
    for index, layer in enumerate(LEDGER_LAYERS):
        if any(name == part or name.startswith(part + ".") for part in layer):
            return index
    return None


def top(name: str) -> str:
    return name.split(".")[0]


ALL = [(name, path) for room in ROOMS for name, path in modules(room)]


@pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])
def test_imports_keep_to_the_rooms(name: str, path: Path) -> None:
    found = imports(path)
    assert not [one for one in found if one.startswith(".")], "absolute imports only"
    rooms = {top(one) for one in found} & set(ROOMS)
    if top(name) == "contracts_py":
        modules_named = {one for one in found if not one.startswith("ledger.contract.")}
        assert modules_named <= {"ledger.contract"}, "a contract imports exactly ledger.contract"
    elif top(name) == "ledger":
        assert rooms <= {"ledger"}, "ledger imports no other room"
    elif top(name) == "meter":
        assert rooms <= {"ledger", "meter"}, "a meter needs no node of its own"


@pytest.mark.parametrize(
    ("name", "path"), list(modules("ledger")), ids=[name for name, _ in modules("ledger")]
)
def test_ledger_is_pure_and_layered(name: str, path: Path) -> None:
    if name == "ledger":
        return
    found = imports(path)
    forbidden = {top(one) for one in found} & FORBIDDEN_IN_LEDGER
    for room, allowed in EXCEPTIONS.items():
        if name == room or name.startswith(room + "."):
            forbidden -= allowed
    assert not forbidden, f"{name} is pure and has no use for {forbidden}"
    here = layer_of(name)
    assert here is not None, f"{name} stands in no layer: add it to LEDGER_LAYERS"
    for one in found:
        there = layer_of(one)
        assert there is None or there <= here, f"{name} may not import {one}, which is above it"


def test_consensus_knows_blocks_and_certificates_only() -> None:
    for name, path in modules("ledger/consensus"):
        for one in imports(path):
            assert not one.startswith(
                ("ledger.state", "ledger.contract", "ledger.trie", "ledger.transition")
            ), f"{name} imports {one}"


def test_engines_are_unknown_to_what_stands_beside_them() -> None:
    for name, path in ALL:
        if name in ("ledger.transition", "ledger.pool", "ledger.light", "ledger.chain") or (
            name.startswith("ledger.store")
        ):
            found = imports(path)
            assert not any(one.startswith("ledger.consensus") for one in found), name


def test_one_module_of_meter_knows_transactions() -> None:
    knowing = [
        name
        for name, path in modules("meter")
        if any(one.startswith("ledger.transaction") for one in imports(path))
    ]
    assert knowing == ["meter.submit"]


def book_of(name: str) -> str:
    return max((book for book in BOOK_LINES_MAX if f"{name}.".startswith(book + ".")), key=len)


def test_the_ledger_can_be_read_in_a_weekend() -> None:
    lines = Counter[str]()
    for name, path in modules("ledger"):
        lines[book_of(name)] += path.read_text().count("\n")
    long = {book: count for book, count in lines.items() if count >= BOOK_LINES_MAX[book]}
    assert not long, f"books that have grown over their bound: {long} of {BOOK_LINES_MAX}"


@pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])
def test_a_function_is_seen_at_a_glance(name: str, path: Path) -> None:
    long = {
        function.name: lines
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, FUNCTIONS)
        and (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert not long, f"functions over {FUNCTION_LINES_MAX} lines: {long}"


def declared(tree: ast.Module | ast.ClassDef) -> Iterator[ast.AST]:
    """Functions and classes, and those of public classes; not what stands inside a function."""
    for node in tree.body:
        yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from declared(node)


def test_what_others_call_says_what_it_does() -> None:
    """Public classes, and functions of some length; a method once, where its name is defined.

    An exception may stand in the tree of its module. What visits a syntax tree is named after the
    node; the standard library of contracts is Solidity's, name by name.
    """
    trees = {
        name: ast.parse(path.read_text())
        for name, path in ALL
        if not name.startswith(("contracts_py", "ledger.contract.standard"))
    }
    nodes = [(name, node) for name, tree in trees.items() for node in declared(tree)]
    functions = [(name, node) for name, node in nodes if isinstance(node, FUNCTIONS)]
    known = {node.name for _, node in functions if ast.get_docstring(node)}
    silent = [
        f"{name}.{node.name}"
        for name, node in functions
        if (node.end_lineno or 0) - node.lineno + 1 >= UNEXPLAINED_LINES_MAX
        and node.name not in known
        and not re.match(r"_|(of|on|lower|visit)_[A-Z]", node.name)
    ]
    silent += [
        f"{name}.{node.name}"
        for name, node in nodes
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and node.name not in (ast.get_docstring(trees[name]) or "")
    ]
    assert not silent, f"without a docstring: {silent}"


def test_a_file_is_one_noun() -> None:
    long = {
        name: count
        for name, path in ALL
        if (count := path.read_text().count("\n")) > FILE_LINES_MAX
        and not name.startswith("contracts_py")
    }
    assert not long, f"files over {FILE_LINES_MAX} lines: {long}"
    tests = {
        path.name: count
        for path in (ROOT / "tests").rglob("*.py")
        if (count := path.read_text().count("\n")) > TEST_FILE_LINES_MAX
    }
    assert not tests, f"tests over {TEST_FILE_LINES_MAX} lines: {tests}"


def test_every_run_time_import_is_a_declared_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared, for_tests = (
        {one.split("==")[0].split(">")[0].lower() for one in requirements}
        for requirements in (project["dependencies"], project["optional-dependencies"]["test"])
    )
    distributions = {
        "sha3": "safe-pysha3",
        "Crypto": "pycryptodome",
        "prometheus_client": "prometheus-client",
        "serial": "pyserial",
    }
    for name, path in ALL:
        for one in imports(path):
            package = top(one)
            if package in ROOMS or package in sys.stdlib_module_names:
                continue
            kit = for_tests if name.startswith("ledger.contract.testing.") else set()
            known = declared | kit
            assert distributions.get(package, package) in known, f"{name} imports {package}"


def test_every_test_asserts_something() -> None:
    """In its own body: a helper gives what it found, and the test says what that must be."""
    silent = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_") and not asserts(node)
    ]
    assert not silent, f"nothing is asserted: {silent}"


def asserts(test: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr in ("raises", "fail"))
        for node in ast.walk(test)
    )
