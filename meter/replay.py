"""Rows of a CSV file with their times, from any row on: the replay source.

A file is read as it stands: plain or gzip, any separator, time from a column (ISO 8601, or Unix
seconds) or from the row's number where rows are evenly spaced. The number of rows consumed is the
durable position, so that a replay goes on after a crash exactly where its last saved row was.

Not here: which columns measure what (`meter.measure`), how fast rows are due (`meter.daemon`).
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO, cast

from meter.errors import SourceError
from meter.numbers import NotANumber, NotMeasured, parse_scaled

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
TIME_MS_MAX = 253_402_300_800_000  # the year 10000: past every calendar in use


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """`where` keeps the rows in which a column has a value; `label_is_end` shifts by the interval.

    Without a time column, row i (of those kept) starts at `start_ms` + i * `interval_ms`.
    """

    file: Path
    delimiter: str = ","
    time_column: str = ""
    utc_offset_s: int = 0
    label_is_end: bool = False
    start_ms: int = 0
    interval_ms: int = 0
    where: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """`position` is the durable position once this row is consumed."""

    position: int
    at_ms: int
    fields: dict[str, str]


def parse_time(text: str, utc_offset_s: int) -> int:
    """Unix ms of an ISO 8601 time (without a zone: at this offset) or of Unix seconds.

    Raises ValueError.
    """
    text = text.strip()
    try:
        at_ms = parse_scaled(text, 1_000)
    except (NotANumber, NotMeasured):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC) - timedelta(seconds=utc_offset_s)
        at_ms = (moment - _EPOCH) // _MILLISECOND
    if not 0 <= at_ms <= TIME_MS_MAX:
        raise ValueError(f"{text!r} is not a time between 1970 and 9999")
    return at_ms


def open_text(file: Path) -> TextIO:
    """A CSV file as text; gzip is told by its first two bytes. Raises SourceError."""
    try:
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        if packed:
            return cast(
                TextIO, gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
            )
        return file.open(encoding="utf-8-sig", errors="replace", newline="")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error


def read_rows(
    settings: ReplaySettings,
    columns: Sequence[str],
    skip: int,
    note: Callable[[str, str], None],
) -> Iterator[Row]:
    """The kept rows after the first `skip`. Raises SourceError for a file unlike the settings."""
    needed = [*columns, *filter(None, [settings.time_column, (settings.where or ("",))[0]])]
    with open_text(settings.file) as text:
        rows = csv.DictReader(text, delimiter=settings.delimiter)
        position = kept = 0
        try:
            _check_header(settings.file, rows.fieldnames or (), needed)
            for fields in rows:
                position += 1
                if settings.where and fields.get(settings.where[0]) != settings.where[1]:
                    continue
                kept += 1
                if position <= skip:
                    continue
                at_ms = _row_time(settings, fields, kept - 1, note)
                if at_ms is not None:
                    yield Row(position, at_ms, fields)
        except (EOFError, gzip.BadGzipFile, zlib.error, csv.Error, OSError) as error:
            raise SourceError(
                f"{settings.file}: damaged after row {position}: {error}; what came before counts"
            ) from error


def _check_header(file: Path, header: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in header:
            shown = ", ".join(header[:12])
            raise SourceError(f"{file}: has no column {name!r}; its columns are: {shown}")


def _row_time(
    settings: ReplaySettings, fields: dict[str, str], index: int, note: Callable[[str, str], None]
) -> int | None:
    if not settings.time_column:
        return settings.start_ms + index * settings.interval_ms
    text = fields[settings.time_column] or ""
    try:
        at_ms = parse_time(text, settings.utc_offset_s)
    except (ValueError, OverflowError):
        note("bad_time", repr(text[:40]))
        return None
    return at_ms - settings.interval_ms if settings.label_is_end else at_ms
