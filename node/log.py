"""Plain structured logs: one line per event, time, level, room, words, then key=value fields.

    2026-03-01T12:00:00Z info  chain  block imported height=12 transactions=200

or, where a machine reads them, an object a line with the keys time, level, room, message and the
fields beside them. Lines go to standard error, where systemd's journal keeps them. What repeats
is said once and then at most every REPEAT_S seconds with a count. Not here: what is worth a line.
"""

import json
import sys
import time
import traceback
from typing import TextIO

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("text", "json")
OWN_KEYS = ("time", "level", "room", "message")
REPEAT_S = 60.0
REPEATS_KEPT_MAX = 256
"""Distinct repeating lines remembered; beyond it the memory is emptied and they are said again."""
VALUE_CHARACTERS_MAX = 500


class Log:
    """Writes lines of at least `level` to `stream`."""

    def __init__(
        self, level: str = "info", stream: TextIO | None = None, *, as_json: bool = False
    ) -> None:
        self._as_json = as_json
        self._lowest = LEVELS.index(level)
        self._stream = stream
        self._repeats: dict[tuple[str, str], tuple[float, int]] = {}

    def debug(self, room: str, words: str, **fields: object) -> None:
        if self._lowest == 0:
            self._write("debug", room, words, fields)

    def info(self, room: str, words: str, **fields: object) -> None:
        if self._lowest <= 1:
            self._write("info", room, words, fields)

    def warn(self, room: str, words: str, **fields: object) -> None:
        self._write("warn", room, words, fields)

    def error(self, room: str, words: str, **fields: object) -> None:
        self._write("error", room, words, fields)

    def seldom(self, room: str, words: str, **fields: object) -> None:
        """A warning that may come a thousand times a second: said once, then counted."""
        now = time.monotonic()
        said, count = self._repeats.get((room, words), (-REPEAT_S, 0))
        if now - said < REPEAT_S:
            self._repeats[room, words] = (said, count + 1)
            return
        if len(self._repeats) >= REPEATS_KEPT_MAX:
            self._repeats.clear()
        self._repeats[room, words] = (now, 0)
        if count:
            fields["repeated"] = count
        self._write("warn", room, words, fields)

    def bug(self, room: str, error: BaseException, **fields: object) -> None:
        """An exception that is a fault of ours: where it was raised, and the whole at debug."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "?"
        self._write(
            "error",
            room,
            f"internal error: {type(error).__name__}: {error}",
            {"at": where} | fields,
        )
        if self._lowest == 0:
            for line in traceback.format_exception(error):
                self._write("debug", room, line.rstrip(), {})

    def _write(self, level: str, room: str, words: str, fields: dict[str, object]) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._as_json:
            line = _encode(stamp, level, room, words, fields)
        else:
            line = f"{stamp} {level:<5} {room:<9} {words}"
            for key, value in fields.items():
                line += f" {key}={_show(value)}"
        stream = self._stream or sys.stderr
        stream.write(line + "\n")
        stream.flush()


def _encode(stamp: str, level: str, room: str, words: str, fields: dict[str, object]) -> str:
    """One JSON object; numbers and booleans stay what they are, the rest is text."""
    entry: dict[str, object] = dict(zip(OWN_KEYS, (stamp, level, room, words), strict=True))
    for key, value in fields.items():
        plain = value is None or isinstance(value, bool | int | float)
        name = key + "_" if key in OWN_KEYS else key
        entry[name] = value if plain else _shorten(value)
    return json.dumps(entry, ensure_ascii=False)


def _show(value: object) -> str:
    """A value in one word or in quotes; bytes in hex, a digest shortened."""
    text = _shorten(value)
    if not text or any(character in text for character in ' "\n='):
        return '"' + text.replace('"', "'").replace("\n", " ") + '"'
    return text


def _shorten(value: object) -> str:
    if isinstance(value, bytes):
        text = "0x" + value.hex()
        return text if len(text) <= 42 else text[:18] + ".."
    return str(value)[:VALUE_CHARACTERS_MAX]
