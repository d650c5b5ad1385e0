"""A board that is not there: writes the lines of an RPICT board to a pseudo-terminal it makes.

    python -m meter.feeder --csv house.csv --column active_w --link /tmp/board

Readings come from a CSV file, one line per row, CRLF, node id 11 as in the board's manual. An empty
value is written as NaN, as a broken board does, and so is one line at the end: after it the last
reading is complete. Then the board stays silent, as boards do, until it is stopped (--exit ends it
once all is read).

Nothing is dropped: the first line waits until a reader has opened the port and flushed what was in
it (a terminal in packet mode says so), each line waits for room, and when the reader goes away the
next line waits for another. What a reader took and lost is lost, as with a board.

Not here: what the lines mean (`meter.measure`), any part of the meter.
"""

import argparse
import csv
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import time
import tty
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from itertools import chain
from pathlib import Path

from meter.errors import MeterError, SourceError
from meter.measure import BOARDS
from meter.replay import open_text

NODE_ID = 11
FLUSH_WAIT_S = 5.0  # a reader that does not flush its input is served after so long
POLL_MS = 50
LINGER_S = 0.2  # between two looks whether the reader has taken everything
UNITS = {"W": Decimal(1), "kW": Decimal(1_000)}
ENERGY_UNITS = {"Wh": Decimal(1), "kWh": Decimal(1_000)}
_TIOCPKT = getattr(termios, "TIOCPKT", 0x5420)
_FLUSHREAD = 0x01  # the control byte of packet mode after the reader's tcflush


class Board:
    """The master's end of a pseudo-terminal; `path` is the port to read."""

    def __init__(self, link: Path | None = None) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        fcntl.ioctl(self._master, _TIOCPKT, struct.pack("i", 1))
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN | select.POLLOUT)
        self._link = link
        if link is not None:
            draft = link.with_name(f"{link.name}.{os.getpid()}")
            draft.symlink_to(self.path)
            draft.replace(link)

    def close(self) -> None:
        os.close(self._master)
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def wait_for_reader(self) -> None:
        """Until somebody has the port open, and has flushed it or had time to."""
        opened_s: float | None = None
        while True:
            events = self._events()
            now_s = time.monotonic()
            if events & select.POLLHUP:
                opened_s = None
            elif opened_s is None:
                opened_s = now_s
            if events & select.POLLIN and self._take_control():
                return
            if opened_s is not None and now_s - opened_s > FLUSH_WAIT_S:
                return
            time.sleep(POLL_MS / 1_000)

    def write(self, data: bytes) -> None:
        """All of a line, in order, waiting for room and for a reader."""
        while data:
            events = self._events()
            if events & select.POLLIN:
                self._take_control()
            if events & select.POLLHUP:
                self.wait_for_reader()
                continue
            if events & select.POLLOUT:
                try:
                    data = data[os.write(self._master, data) :]
                    continue
                except BlockingIOError:
                    pass
            time.sleep(POLL_MS / 10_000)

    def is_read(self) -> bool:
        """Whether the reader has taken every byte."""
        slave = os.open(self.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            waiting = fcntl.ioctl(slave, termios.FIONREAD, struct.pack("i", 0))
        finally:
            os.close(slave)
        return bool(struct.unpack("i", waiting)[0] == 0)

    def _events(self) -> int:
        return next((events for _, events in self._poll.poll(POLL_MS)), 0)

    def _take_control(self) -> bool:
        """Read what came back; whether it says that the reader flushed its input."""
        try:
            packet = os.read(self._master, 4_096)
        except OSError:  # no reader, or nothing after all
            return False
        return bool(packet) and bool(packet[0] & _FLUSHREAD)


def read_values(file: Path, columns: dict[str, str], row_max: int) -> Iterator[dict[str, str]]:
    """Per row the text of each field's column. `columns` is field -> column."""
    with open_text(file) as text:
        rows = csv.DictReader(text)
        for column in columns.values():
            if column not in (rows.fieldnames or ()):
                raise SourceError(f"{file}: has no column {column!r}")
        for index, row in enumerate(rows):
            if row_max and index >= row_max:
                return
            yield {field: row[column] or "" for field, column in columns.items()}


def format_line(
    board: str, node_id: int, values: dict[str, str], scales: dict[str, Decimal]
) -> str:
    """One line as the board prints it: values with one decimal, 0.0 for channels without a clamp.

    A value that is no number becomes NaN. `scales` turns the file's unit into the board's.
    """
    fields = []
    for name in BOARDS[board]:
        if name == "node":
            fields.append(str(node_id))
        elif name in values:
            fields.append(_format_value(values[name], scales[name]))
        else:
            fields.append("0.0")
    return " ".join(fields) + "\r\n"


def _format_value(text: str, scale: Decimal) -> str:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return "NaN"
    if not number.is_finite():
        return "NaN"
    return str((number * scale).quantize(Decimal("0.1"), ROUND_HALF_EVEN))


def feed(board: Board, lines: Iterable[str], lines_per_s: float) -> int:
    """Write lines at their pace (0: as fast as they are read); how many."""
    board.wait_for_reader()
    began_s, count = time.monotonic(), 0
    for line in lines:
        if lines_per_s:
            time.sleep(max(0.0, began_s + count / lines_per_s - time.monotonic()))
        board.write(line.encode("ascii"))
        count += 1
    return count


def make_lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines that the options ask for, and one without a value at the end."""
    columns, scales = {}, {}
    if options.column:
        power = f"p{options.channel}"
        columns[power] = options.column
        scales[power] = _power_scale(options)
    if options.current_column:
        current = f"i{options.channel}"
        columns[current] = options.current_column
        scales[current] = Decimal(1_000)  # boards print mA
    if options.voltage_column:
        columns["v"] = options.voltage_column
        scales["v"] = Decimal(1)
    for name in columns:
        if name not in BOARDS[options.board]:
            raise SourceError(f"board {options.board} has no field {name}")
    for values in read_values(options.csv, columns, options.rows):
        yield format_line(options.board, options.node_id, values, scales)
    yield format_line(options.board, options.node_id, dict.fromkeys(columns, ""), scales)


def _power_scale(options: argparse.Namespace) -> Decimal:
    """From the column's unit to watts; energy of an interval becomes its mean power."""
    if options.unit in UNITS:
        return UNITS[options.unit]
    if not options.interval_s:
        raise SourceError(f"--unit {options.unit} needs --interval-s, the length of a row")
    return ENERGY_UNITS[options.unit] * 3_600 / Decimal(options.interval_s)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m meter.feeder", description="Emulate an RPICT board on a pseudo-terminal."
    )
    parser.add_argument("--csv", type=Path, required=True, help="readings, plain or gzip")
    parser.add_argument("--column", help="column with power, or with energy (--unit kWh)")
    parser.add_argument("--unit", choices=[*UNITS, *ENERGY_UNITS], default="W")
    parser.add_argument("--interval-s", type=int, default=0, help="length of a row, for energy")
    parser.add_argument("--current-column", help="column with amperes")
    parser.add_argument("--voltage-column", help="column with volts")
    parser.add_argument("--board", choices=list(BOARDS), default="RPICT7V1")
    parser.add_argument("--channel", type=int, default=1)
    parser.add_argument("--node-id", type=int, default=NODE_ID)
    parser.add_argument("--rows", type=int, default=0, help="so many rows; 0: all")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="lines a second; 0: as fast as read"
    )
    parser.add_argument("--link", type=Path, help="a symbolic link to the port")
    parser.add_argument("--exit", action="store_true", help="end once everything is read")
    options = parser.parse_args(arguments)
    if not options.column and not options.current_column:
        parser.error("--column or --current-column is needed")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    try:
        lines = make_lines(options)
        first = next(lines)  # a file that will not do is told before a port is made
        return _serve(options, chain([first], lines))
    except MeterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _serve(options: argparse.Namespace, lines: Iterable[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the link is taken away
    board = Board(options.link)
    try:
        print(board.path, flush=True)
        count = feed(board, lines, options.rate)
        print(f"{count} lines", flush=True)
        while not (options.exit and board.is_read()):
            time.sleep(LINGER_S)
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        board.close()


if __name__ == "__main__":
    sys.exit(main())
