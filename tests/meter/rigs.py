"""Configuration files and pipelines for the tests of this room."""

import logging
from pathlib import Path
from typing import Any

from meter.clock import Stamp
from meter.config import load_config
from meter.outbox import Outbox
from meter.pipeline import Pipeline
from meter.reading import PeriodRecord
from meter.replay import read_rows
from tests.meter.fake_chain import CHAIN_ID, CONTRACT

KEY = "0x" + "42" * 32
LOG = logging.getLogger("test.meter")


def quote(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(quote(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else '"' + str(value).replace("\\", "\\\\") + '"'


def write_config(
    folder: Path,
    *meters: dict[str, Any],
    urls: list[str] | None = None,
    top: str = "",
    simulated: bool | None = None,
) -> Path:
    """A configuration file of these meters, each with a key of its own."""
    lines = [top]
    if simulated is not None:
        (folder / "network.json").write_text(
            f'{{"chain_id": {CHAIN_ID}, "simulated": {str(simulated).lower()}}}'
        )
        lines.insert(0, 'network = "network.json"')
    lines += [
        "[defaults]",
        f"contract = {quote(CONTRACT)}",
        f"nodes = {quote(urls or ['http://127.0.0.1:9'])}",
        f"chain_id = {CHAIN_ID}",
        "poll_ms = 10",
    ]
    for index, meter in enumerate(meters, 1):
        name = meter.get("name", f"m{index}")
        key_file = folder / f"{name}.key"
        if not key_file.exists():
            key_file.write_text(f"0x{index:064x}\n")
            key_file.chmod(0o600)
        values = {"name": name, "key_file": str(key_file), **meter}
        lines.append("[[meter]]")
        lines += [f"{key} = {quote(value)}" for key, value in values.items()]
    file = folder / "meter.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


class PipelineRig:
    """A pipeline without a network, restarted at will."""

    def __init__(self, folder: Path, meter: dict[str, Any], **options: Any) -> None:
        self.folder = folder
        self.whole = load_config(write_config(folder, meter, **options))
        self.config = self.whole.meters[0]
        self.outbox = Outbox(folder / "outbox.sqlite")
        self.build()

    def build(self) -> None:
        self.pipeline = Pipeline(self.config, self.whole.clock, self.outbox, LOG, lambda: None)

    def restart(self) -> None:
        """As after a kill: whatever was not saved is gone."""
        self.outbox.close()
        self.outbox = Outbox(self.folder / "outbox.sqlite")
        self.build()

    @property
    def faults(self) -> dict[str, int]:
        return self.pipeline.faults.counts

    @property
    def records(self) -> list[PeriodRecord]:
        return self.outbox.records()

    def replay(self, restart_every: int = 0) -> None:
        """The configured file from beginning to end, killed after every so many rows."""
        settings = self.config.replay
        assert settings is not None
        while True:
            columns = self.pipeline.measure.settings.columns()
            rows = read_rows(settings, columns, self.pipeline.rows_done, self.pipeline.faults.count)
            for count, row in enumerate(rows, 1):
                self.pipeline.take_row(row)
                if restart_every and count % restart_every == 0:
                    self.pipeline.checkpoint(force=True)
                    self.pipeline.take_row(row)  # counted, and lost by the kill
                    self.restart()
                    break
            else:
                self.pipeline.finish()
                return

    def lines(self, text: bytes, at_ms: int) -> None:
        """Whole lines that arrive at this time, by both clocks."""
        for line in text.splitlines():
            self.pipeline.take_line(line, Stamp(at_ms, at_ms))
        self.pipeline.checkpoint()

    def close(self) -> None:
        self.outbox.close()
