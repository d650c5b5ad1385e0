"""Bytes from a serial line, turned into whole lines of fields in bounded memory.

    11 0.0 0.0 -0.0 3296.3 231.08\\r\\n    emoncms style: node id, numbers; also tabs, commas
    43 2D 7C 19 tt ...                   binary block of an RPICT board after a reset

Not here: what a field means (`meter.measure`), when a line came (`meter.clock`).
Source: lechacal.com, "Over Serial Configuration"; METERING notes on broken lines.
"""

import re
from collections.abc import Callable

from meter.numbers import is_not_measured

LINE_BYTES_MAX = 1_024  # twenty times the longest known line; 15 fields of 10 characters are 165
BINARY_MAGIC = bytes.fromhex("432D7C19")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*|[ \t]+")
_TEXT = re.compile(rb"[\t\x20-\x7e]*")
_NUMBERLIKE = re.compile(r"[+-]?[0-9.]+")


class LineSplitter:
    """Cuts a byte stream at line ends; what has no line end for too long is thrown away."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note = note
        self._buffer = bytearray()
        self._skipping = False  # inside a line that was too long

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends. At most LINE_BYTES_MAX are kept."""
        *ended, rest = data.replace(b"\r", b"\n").split(b"\n")
        lines = []
        for piece in ended:
            if self._skipping or len(self._buffer) + len(piece) > LINE_BYTES_MAX:
                self._too_long()
                self._skipping = False
            elif self._buffer or piece:
                lines.append(bytes(self._buffer) + piece)
            self._buffer.clear()
        if self._skipping or len(self._buffer) + len(rest) > LINE_BYTES_MAX:
            self._too_long()
            self._buffer.clear()
        else:
            self._buffer += rest
        return lines

    def reset(self) -> None:
        """The port was opened anew: half a line from before belongs to nothing."""
        self._buffer.clear()
        self._skipping = False

    def _too_long(self) -> None:
        if not self._skipping:
            self._note("line_too_long", f"over {LINE_BYTES_MAX} bytes")
        self._skipping = True


def split_fields(line: bytes) -> list[str]:
    """The fields of a line; adjacent commas enclose an empty field, other separators collapse."""
    return _SEPARATOR.split(line.decode("ascii").strip())


class LineParser:
    """Gives a line's fields by their names, or counts what is wrong with it.

    `names` are the fields in their order, "node" for the node id, "-" for one of no interest.
    """

    def __init__(
        self, names: tuple[str, ...], node_id: int | None, note: Callable[[str, str], None]
    ) -> None:
        self._names = names
        self._node = None if node_id is None else str(node_id)
        self._node_index = names.index("node") if "node" in names else 0
        self._note = note

    def parse(self, line: bytes, first: bool) -> dict[str, str] | None:
        """Fields by name; None if the line is no data line of ours. `first` after opening."""
        problem, detail, fields = self._check(line)
        if problem is None:
            return dict(zip(self._names, fields, strict=True))
        if first and problem not in ("binary_block", "other_node"):
            problem = "half_line"
        self._note(problem, detail)
        return None

    def _check(self, line: bytes) -> tuple[str | None, str, list[str]]:
        if BINARY_MAGIC in line:
            return "binary_block", "", []
        if _TEXT.fullmatch(line) is None:
            return "text_line", repr(line[:40]), []
        if not line.strip():
            return "empty_line", "", []
        fields = split_fields(line)
        if not all(_NUMBERLIKE.fullmatch(field) or is_not_measured(field) for field in fields):
            return "text_line", repr(line[:40]), []
        if self._node is not None and len(fields) > self._node_index:
            node = fields[self._node_index]
            if node.isdigit() and node != self._node:
                return "other_node", f"node {node[:8]}", []
        counts = f"{len(fields)} instead of {len(self._names)}"
        if len(fields) < len(self._names):
            return "too_few_fields", counts, []
        if len(fields) > len(self._names):
            return "too_many_fields", counts, []
        if self._node is not None and not fields[self._node_index].isdigit():
            return "text_line", f"node id {fields[self._node_index][:8]!r}", []
        return None, "", fields
