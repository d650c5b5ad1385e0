"""Values of a configuration file, checked against their settings.

Each check takes what TOML gave and gives the type of the setting's kind, or says what was expected.
Not here: which settings there are (`meter.settings`), what they mean together (`meter.config`).
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ledger.crypto.address import parse_address
from ledger.errors import LedgerError
from meter.errors import ConfigError
from meter.replay import parse_time
from meter.settings import REQUIRED, Setting

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it becomes a file name


class Reader:
    """Checks values against settings; a value in comes out in the type of its kind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def known(self, where: str, settings: tuple[Setting, ...], values: dict[str, Any]) -> None:
        names = {setting.name for setting in settings}
        for key in values:
            if key not in names:
                near = get_close_matches(key, sorted(names), n=1)
                known = f"one of {', '.join(sorted(names))}"
                hint = f"a setting; did you mean {near[0]}?" if near else known
                raise ConfigError(self.file, where + key, hint)

    def read(
        self, where: str, settings: tuple[Setting, ...], values: dict[str, Any]
    ) -> dict[str, Any]:
        self.known(where, settings, values)
        return {one.name: self._value(where + one.name, one, values) for one in settings}

    def _value(self, key: str, setting: Setting, values: dict[str, Any]) -> Any:
        if setting.name not in values:
            if setting.default is REQUIRED:
                raise ConfigError(self.file, key, f"this setting: {setting.help}")
            if setting.kind == "path" and setting.default:
                return self.file.parent / setting.default
            return setting.default
        value = values[setting.name]
        try:
            checked: Any = CHECKS[setting.kind](value, self.file)
        except (ValueError, TypeError, LedgerError) as error:
            raise ConfigError(self.file, key, f"{error}, not {value!r}") from error
        if setting.choices and checked not in setting.choices:
            shown = ", ".join(repr(choice) for choice in setting.choices if choice)
            raise ConfigError(self.file, key, f"one of {shown}, not {value!r}")
        if setting.least is not None and checked < setting.least:
            raise ConfigError(self.file, key, f"at least {setting.least}, not {value!r}")
        return checked


def _text(value: Any, file: Path) -> str:
    if not isinstance(value, str):
        raise ValueError("a text in quotes")
    return value


def _name(value: Any, file: Path) -> str:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise ValueError("1 to 64 letters, digits, - and _")
    return value


def _path(value: Any, file: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError("a path in quotes")
    return file.parent / Path(value).expanduser()


def _integer(value: Any, file: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an integer")
    return value


def _decimal(value: Any, file: Path) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("a number")
    number = Decimal(value)
    if not number.is_finite() or not 0 <= number <= 1_000_000:
        raise ValueError("a number from 0 to 1,000,000")
    return number


def _boolean(value: Any, file: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _texts(value: Any, file: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError("a list of texts")
    return tuple(value)


def _urls(value: Any, file: Path) -> tuple[str, ...]:
    urls = _texts(value, file)
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('a list of URLs such as "http://192.168.1.10:8545"')
    if not urls:
        raise ValueError("at least one URL")
    return urls


def _address(value: Any, file: Path) -> bytes:
    try:
        return parse_address(_text(value, file))
    except LedgerError as error:
        raise ValueError(f"an address ({error})") from error


def _hash(value: Any, file: Path) -> bytes:
    text = _text(value, file)
    if re.fullmatch(r"0x[0-9a-fA-F]{64}", text) is None:
        raise ValueError("0x and 64 hex digits")
    return bytes.fromhex(text[2:])


def _time(value: Any, file: Path) -> int:
    """Unix ms of a TOML date-time, an ISO 8601 text or Unix seconds; UTC where no zone is said."""
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        value = value.isoformat()
    elif isinstance(value, date):
        value = value.isoformat()
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    try:
        return parse_time(_text(value, file), 0)
    except ValueError as error:
        raise ValueError('a time such as "2026-01-31T00:00:00+00:00", or Unix seconds') from error


CHECKS = {
    "text": _text,
    "name": _name,
    "path": _path,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "texts": _texts,
    "urls": _urls,
    "address": _address,
    "hash": _hash,
    "time": _time,
}
