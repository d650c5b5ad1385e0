"""The four households of the demo, and where their readings come from.

Three are real UK meters in the sample files of the package `eemeter` (Apache 2.0); the fourth is
the air conditioner of the published system, whose current was reported as 6.23 to 6.91 A at a
nominal 220 V: that range is stepped through and back, one hundredth of an ampere a half hour. A
person's own file takes the place of all of them.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from node.errors import NodeError

AIR_CONDITIONER_A = (Decimal("6.23"), Decimal("6.91"))
NOMINAL_V = 220
MONTH_HOURS = 744
SAMPLES = (
    ("uk-electricity-hdd-only-hourly-sample-0.csv.gz", "2021-12", 3_600),
    ("uk-electricity-hdd-only-hourly-sample-1.csv.gz", "2013-12", 1_800),
    ("uk-electricity-hdd-only-hourly-sample-2.csv.gz", "2013-12", 1_800),
)
GAP_S_MAX = 31 * 86_400  # longer than a month is another series
OWN_ROWS_MAX = 200_000  # a year of two-minute readings


@dataclass(frozen=True)
class Household:
    """A file of evenly spaced rows `start,watts` or `start,amperes` that a board replays.

    A row without a value is a gap of the source. `hours` have at least one value.
    """

    name: str
    source: str
    file: Path
    column: str
    start: datetime
    interval_s: int
    rows: int
    hours: int
    import_wh: int

    @property
    def month(self) -> str:
        return self.start.strftime("%Y-%m")


def prepare_households(folder: Path, own: Path | None) -> list[Household]:
    """Write what the four boards will replay. Raises NodeError where there are no readings."""
    folder.mkdir(parents=True)
    if own is not None:
        return split_own_file(folder, own)
    found = [
        _write(folder, f"home {index}", f"eemeter {name}", month_of_sample(name, month), interval_s)
        for index, (name, month, interval_s) in enumerate(SAMPLES, 1)
    ]
    return [*found, _air_conditioner(folder, found[-1].start)]


def sample_file(name: str) -> Path:
    """A file of eemeter's samples, wherever pip has put them."""
    try:
        files = distribution("eemeter").files or []
    except PackageNotFoundError as error:
        raise NodeError(
            "the demo's readings are not installed; run it by `make demo`, or first:\n"
            "  pip install --no-deps eemeter==4.1.1"
        ) from error
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise NodeError(f"the installed eemeter has no {name}; the demo needs version 4.1.1")


def month_of_sample(name: str, month: str) -> Iterator[tuple[datetime, Decimal]]:
    """(start, kWh) of a month; the files hold thousandths of kWh with float noise behind."""
    with gzip.open(sample_file(name), "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            start = datetime.fromisoformat(row["start"]).replace(tzinfo=UTC)
            if start.strftime("%Y-%m") == month:
                yield start, Decimal(row["value"]).quantize(Decimal("0.001"))


def _write(
    folder: Path,
    name: str,
    source: str,
    rows: Iterator[tuple[datetime, Decimal]],
    interval_s: int,
) -> Household:
    """Energy of intervals becomes the mean power in between, which a board would show."""
    readings = spread_evenly(source, rows, interval_s)
    file = folder / f"{name.replace(' ', '-')}.csv"
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["start", "watts"])
        for start, kwh in readings:
            watts = "" if kwh is None else kwh * 3_600_000 / interval_s
            writer.writerow([start.isoformat(), watts])
    measured = [(start, kwh) for start, kwh in readings if kwh is not None]
    return Household(
        name=name,
        source=source,
        file=file,
        column="watts",
        start=readings[0][0],
        interval_s=interval_s,
        rows=len(readings),
        hours=len({int(start.timestamp()) // 3_600 for start, _ in measured}),
        import_wh=int(sum(kwh for _, kwh in measured) * 1_000),
    )


def _air_conditioner(folder: Path, start: datetime) -> Household:
    low, high = AIR_CONDITIONER_A
    step = Decimal("0.01")
    up = [low + step * i for i in range(int((high - low) / step) + 1)]
    cycle = up + up[-2:0:-1]
    rows = MONTH_HOURS * 2
    amperes = [cycle[i % len(cycle)] for i in range(rows)]
    file = folder / "air-conditioner.csv"
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["start", "amperes"])
        for index, value in enumerate(amperes):
            writer.writerow([(start + index * timedelta(seconds=1_800)).isoformat(), value])
    return Household(
        name="air conditioner",
        source="published range 6.23 to 6.91 A at nominal 220 V",
        file=file,
        column="amperes",
        start=start,
        interval_s=1_800,
        rows=rows,
        hours=MONTH_HOURS,
        import_wh=int(sum(amperes) * NOMINAL_V / 2),
    )


def split_own_file(folder: Path, own: Path) -> list[Household]:
    """A person's CSV: a first column of times and one to four of watts, evenly spaced."""
    opener = gzip.open if own.suffix == ".gz" else open
    try:
        with opener(own, "rt", encoding="utf-8", newline="") as text:
            rows = list(csv.reader(text))[: OWN_ROWS_MAX + 1]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise NodeError(f"{own}: cannot be read as CSV in UTF-8: {error}") from error
    if len(rows) < 3 or len(rows[0]) < 2:
        raise NodeError(f"{own}: expected a header, a column of times and columns of watts")
    header = rows[0]
    try:
        starts = [_parse_time(row[0]) for row in rows[1:]]
        interval_s = int((starts[1] - starts[0]).total_seconds())
        columns = {
            name: [Decimal(row[index]) for row in rows[1:]]
            for index, name in enumerate(header[1:5], 1)
        }
    except (ValueError, ArithmeticError, IndexError) as error:
        raise NodeError(f"{own}: a row is not ISO time and watts: {error}") from error
    if interval_s <= 0 or 3_600 % interval_s:
        raise NodeError(f"{own}: rows every {interval_s} s do not fit into hours")
    first = starts[0]
    if first.timestamp() % 3_600:
        raise NodeError(f"{own}: the first row must start an hour, not {first.isoformat()}")
    households = []
    for name, watts in columns.items():
        energies = (
            (start, w * interval_s / 3_600_000) for start, w in zip(starts, watts, strict=True)
        )
        households.append(_write(folder, name, str(own), energies, interval_s))
    return households


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def spread_evenly(
    source: str, rows: Iterable[tuple[datetime, Decimal]], interval_s: int
) -> list[tuple[datetime, Decimal | None]]:
    """Every interval from the first row to the last; None where the source has none.

    A row given twice with one value counts once (two of the UK files repeat a midnight). Raises
    NodeError for rows that contradict each other, or that stand between two intervals.
    """
    if interval_s <= 0:
        raise NodeError(f"{source}: times do not rise")
    even: list[tuple[datetime, Decimal | None]] = []
    for start, value in rows:
        if even and (start, value) == even[-1]:
            continue
        step_s = (start - even[-1][0]).total_seconds() if even else interval_s
        if step_s <= 0 or step_s % interval_s or step_s > GAP_S_MAX:
            raise NodeError(f"{source}: after {even[-1][0]} comes {start}, rows are {interval_s} s")
        for _ in range(int(step_s) // interval_s - 1):
            even.append((even[-1][0] + timedelta(seconds=interval_s), None))
        even.append((start, value))
    if not even:
        raise NodeError(f"{source}: no readings in the month of the demo")
    return even
