"""What a published system reported beside what was seen here: as a table, and as Markdown.

Belongs here: the shape of a comparison, and on what machine it was made. Not here: what is measured
(each story).
"""

import os
import platform
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from node.commands.common import make_table

NONE_FOUND = "none found"


@dataclass(frozen=True)
class Figure:
    """One row. `published` is NONE_FOUND where no source gives a figure."""

    what: str
    published: str
    ours: str


@dataclass(frozen=True)
class Comparison:
    """A story's end: the system, where its figures stand, and the rows."""

    story: str
    title: str
    source: str
    figures: tuple[Figure, ...]

    def table(self) -> Table:
        table = make_table("", "published", "here")
        table.columns[0].no_wrap = False  # a row's name may take two lines
        for one in self.figures:
            shown = f"[dim]{one.published}[/dim]" if one.published == NONE_FOUND else one.published
            table.add_row(escape(one.what), shown, f"[bold]{escape(one.ours)}[/bold]")
        return table

    def markdown(self, seconds: float) -> str:
        """The same table with the machine and the date it is of."""
        rows = [
            f"| {one.what} | {one.published} | {one.ours} |".replace("\n", " ")
            for one in self.figures
        ]
        return "\n".join(
            [
                f"`wattledger demo --story {self.story}`, {date.today().isoformat()}, "
                f"{describe_machine()}, {seconds:.0f} s in all.",
                f"Published: {self.source}",
                "",
                "| | published | here |",
                "|---|---|---|",
                *rows,
            ]
        )


def describe_machine() -> str:
    """Cores, processor and system, as far as this machine tells."""
    cores = os.cpu_count() or 1
    model = ""
    try:
        found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(),
                          re.MULTILINE)  # fmt: skip
        model = f" of {found.group(1).strip()}" if found else ""
    except OSError:
        pass  # not Linux: the rest is told
    return f"{cores} cores{model} ({platform.machine()}), Python {platform.python_version()}"


def write_section(file: Path, story: str, text: str) -> None:
    """Put a story's Markdown between its two marks in a file; at the end where it has none yet."""
    begin, end = f"<!-- {story}: from the command -->", f"<!-- {story}: so far -->"
    section = f"{begin}\n\n{text}\n\n{end}"
    page = file.read_text() if file.exists() else ""
    if begin in page and end in page:
        before, after = page.split(begin, 1)[0], page.split(end, 1)[1]
        file.write_text(before + section + after)
    else:
        file.write_text(page + ("\n" if page else "") + section + "\n")
