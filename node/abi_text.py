"""Between an ABI in JSON and what a person types and reads: arguments, results, errors."""

import json
from collections.abc import Sequence
from typing import Any

from ledger.crypto.address import parse_address, to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, encode_data
from ledger.errors import LedgerError
from node.errors import NodeError

Entry = dict[str, Any]


def abi_type(parameter: Entry) -> str:
    """The canonical type of a parameter: `tuple` becomes its components in parentheses."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(abi_type(component) for component in parameter["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def signature(entry: Entry) -> str:
    """What selectors and topics are hashes of: name(type,type)."""
    return f"{entry['name']}({','.join(abi_type(one) for one in entry['inputs'])})"


def find_entry(entries: Sequence[Entry], name: str) -> Entry:
    """The function of this name. Raises NodeError that lists those there are."""
    functions = [entry for entry in entries if entry["type"] == "function"]
    for entry in functions:
        if entry["name"] == name:
            return entry
    known = ", ".join(sorted(entry["name"] for entry in functions))
    raise NodeError(f"no method {name!r}; there are: {known}")


def encode_arguments(method: str, inputs: Sequence[Entry], texts: Sequence[str]) -> bytes:
    """Arguments as typed, encoded. Arrays and tuples are typed as JSON."""
    if len(texts) != len(inputs):
        wanted = ", ".join(f"{abi_type(one)} {one.get('name', '')}".strip() for one in inputs)
        count = "1 argument" if len(inputs) == 1 else f"{len(inputs)} arguments"
        raise NodeError(f"{method} takes ({wanted}): {count}, not {len(texts)}")
    values = []
    for one, text in zip(inputs, texts, strict=True):
        try:
            values.append(_parse(one, text))
        except (ValueError, TypeError, KeyError, LedgerError) as error:
            raise NodeError(
                f"{method}: {text!r} is no {abi_type(one)} for {one.get('name')}: {error}"
            ) from error
    try:
        return abi.encode([abi_type(one) for one in inputs], values)
    except LedgerError as error:
        raise NodeError(f"{method}: {error}") from error


def _parse(parameter: Entry, value: Any) -> Any:
    kind = str(parameter["type"])
    if kind.endswith("]"):
        element = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_parse(element, item) for item in _parse_json(value)]
    if kind == "tuple":
        fields = _parse_json(value)
        components = parameter["components"]
        return tuple(_parse(one, field) for one, field in zip(components, fields, strict=True))
    if kind == "string":
        return str(value)
    if kind == "bool":
        if value in (True, "true", "True", "1"):
            return True
        if value in (False, "false", "False", "0"):
            return False
        raise ValueError("expected true or false")
    if kind == "address":
        return parse_address(str(value))
    if kind.startswith("bytes"):
        return decode_data(str(value))
    try:
        return int(str(value), 0)
    except ValueError as error:
        raise ValueError("expected a whole number, in decimal or 0x") from error


def _parse_json(value: Any) -> list[Any]:
    """The items of an array or tuple; inside another one they have been read already."""
    try:
        items = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"expected a JSON list such as [1, 2]: {error}") from error
    if not isinstance(items, list):
        raise ValueError("expected a JSON list such as [1, 2]")
    return items


def render_value(parameter: Entry, value: Any) -> Any:
    """A decoded value as JSON that a person can read; integers stay exact."""
    kind = str(parameter["type"])
    if kind.endswith("]"):
        element = {**parameter, "type": kind[: kind.rindex("[")]}
        return [render_value(element, item) for item in value]
    if kind == "tuple":
        components = parameter["components"]
        return {
            one["name"]: render_value(one, field)
            for one, field in zip(components, value, strict=True)
        }
    if kind == "address":
        return to_checksum(value)
    return encode_data(value) if isinstance(value, bytes) else value


def decode_error(entries: Sequence[Entry], data: bytes) -> str | None:
    """Revert data as `Name(field=value, ...)`; None where the ABI does not know it."""
    for entry in entries:
        if entry["type"] != "error" or abi.selector(signature(entry)) != data[:4]:
            continue
        try:
            values = abi.decode([abi_type(one) for one in entry["inputs"]], data[4:])
        except LedgerError:
            return None
        shown = ", ".join(
            f"{one['name']}={render_value(one, value)}"
            for one, value in zip(entry["inputs"], values, strict=True)
        )
        return f"{entry['name']}({shown})"
    return None
