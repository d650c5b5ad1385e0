"""A devnet with a grid on it, set up by commands alone: what a person would type."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.commands.terminal import succeed
from tests.devnets import Devnet, run_devnet

OWNER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
METER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SECOND = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
HOME = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
MONTH = "2026-10"
FIRST_PERIOD = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) // 3_600
HOURS = 50
REASON = "the clamp [/sat] the wrong way <round> \x1b[2J :bulb:"


@dataclass(frozen=True)
class Grid:
    """A Metering contract with readings of one account; `rpc` are the options of a command."""

    devnet: Devnet
    contract: str

    @property
    def rpc(self) -> tuple[str, str]:
        return ("--rpc", self.devnet.url)

    @property
    def network(self) -> Path:
        return self.devnet.data / "network" / "network.json"

    @property
    def bill(self) -> tuple[str, ...]:
        """The options that name the bill."""
        return ("--contract", self.contract, "--account", HOME, "--month", MONTH)

    def send(self, sender: str, method: str, *arguments: object) -> None:
        texts = [json.dumps(one) if isinstance(one, list) else one for one in arguments]
        succeed("contract", "send", self.contract, "metering", method, *texts,
                "--from", sender, *self.rpc)  # fmt: skip


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """Fifty hours of one meter, an hour of a second one, a gap, an estimate and a correction."""
    with run_devnet(tmp_path_factory.mktemp("commands")) as devnet:
        deployed = json.loads(
            succeed("contract", "deploy", "metering", 3_600, 0, "--from", OWNER, "--json",
                    "--rpc", devnet.url)
        )  # fmt: skip
        made = Grid(devnet, deployed["address"])
        made.send(OWNER, "setTariff", 0, "true", [20, 40], [300, 500, 900])
        made.send(OWNER, "enrol", METER, HOME)
        made.send(OWNER, "enrol", SECOND, HOME)
        used = [1_000 + hour for hour in range(HOURS)]
        quality = [1] * (HOURS - 1) + [16]
        made.send(METER, "recordMany", FIRST_PERIOD, used, [0] * HOURS, quality)
        made.send(SECOND, "record", FIRST_PERIOD + 700, 0, 250, 129)
        made.send(OWNER, "correct", METER, FIRST_PERIOD + 3, 503, 0, 3, REASON)
        yield made
