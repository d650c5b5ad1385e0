"""A contract's interface, and the language's tables, as Markdown.

Everything is read from the model and from the tables that the language itself goes by.
"""

import re
from collections.abc import Iterator, Sequence

from ledger.contract.allowed import list_allowed
from ledger.contract.interface import describe_abi
from ledger.contract.layout import describe_layout
from ledger.contract.model import ContractModel, Kind, MethodModel, external_name
from ledger.contract.rules import RULES
from node.abi_text import abi_type

SIZED = re.compile(r"(u?int|bytes)\d+")
CONTRACT_KINDS = (("Writes", Kind.WRITE), ("Views", Kind.VIEW))


def describe_contract(model: ContractModel) -> str:
    """Markdown: docstrings, methods with their signatures, events, errors, storage."""
    return "\n".join([f"# {model.name}", "", *_describe(model)]).rstrip() + "\n"


def _describe(model: ContractModel) -> Iterator[str]:
    if model.docstring:
        yield from (model.docstring, "")
    entries = {entry.get("name", ""): entry for entry in describe_abi(model)
               if entry["type"] in ("function", "constructor")}  # fmt: skip
    for method in model.methods:
        if method.kind is Kind.CONSTRUCTOR:
            yield from ("## Constructor", "", *_describe_method(method, entries[""]), "")
    for title, kind in CONTRACT_KINDS:
        methods = [one for one in model.methods if one.kind is kind]
        if methods:
            yield from (f"## {title}", "")
        for method in methods:
            entry = entries.get(external_name(method.name))
            if entry is not None:
                yield from (*_describe_method(method, entry), "")
    for title, kind_name in (("Events", "event"), ("Errors", "error")):
        records = [entry for entry in describe_abi(model) if entry["type"] == kind_name]
        if records:
            yield from (f"## {title}", "")
            for entry in records:
                yield f"- `{entry['name']}({_join(entry['inputs'])})`"
            yield ""
    yield from _describe_storage(model)


def _describe_method(method: MethodModel, entry: dict[str, object]) -> Iterator[str]:
    outputs = entry.get("outputs")
    returns = f" returns ({_join(outputs)})" if outputs else ""
    name = "constructor" if method.kind is Kind.CONSTRUCTOR else entry["name"]
    yield f"### `{name}({_join(entry['inputs'])})`{returns}"
    yield ""
    notes = []
    if method.role is not None:
        notes.append(f"For holders of `{external_name(method.role)}`.")
    if method.payable:
        notes.append("Takes native coin.")
    text = " ".join([*notes, *([method.docstring] if method.docstring else [])])
    if text:
        yield text


def _join(parameters: object) -> str:
    """`type name, type name`, as Solidity writes it."""
    assert isinstance(parameters, list)
    texts = []
    for one in parameters:
        indexed = " indexed" if one.get("indexed") else ""
        texts.append(f"{abi_type(one)}{indexed} {one.get('name', '')}".strip())
    return ", ".join(texts)


def _describe_storage(model: ContractModel) -> Iterator[str]:
    layout = describe_layout(model)
    if layout["storage"]:
        rows = [
            (entry["slot"], entry["offset"], f"`{entry['label']}`",
             f"`{layout['types'][entry['type']]['label']}`")
            for entry in layout["storage"]
        ]  # fmt: skip
        yield from ("## Storage", "", *make_rows(("slot", "offset", "field", "type"), rows), "")


def describe_rules() -> str:
    """Markdown: the rules with their hints, then all that is allowed."""
    rules = [(f"`{rule.name}`", rule.what, rule.hint) for rule in RULES.values()]
    lines = [*make_rows(("rule", "what is asked", "hint"), rules), "", *describe_allowed()]
    return "\n".join(lines) + "\n"


def describe_allowed() -> list[str]:
    """A table of all that a source may contain, a row for each kind."""
    kinds: dict[str, list[str]] = {}
    for one in list_allowed():
        names = kinds.setdefault(one.kind, [])
        if not SIZED.fullmatch(one.name):
            note = f" ({one.note})" if one.note else ""
            names.append(f"`{one.name}`{note}")
    kinds["import"].append("`uint8` to `uint256`, `int8` to `int256`, `bytes1` to `bytes32`")
    rows = [(kind, ", ".join(names)) for kind, names in kinds.items()]
    return make_rows(("allowed", "all that there is"), rows)


def make_rows(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows
    ]
