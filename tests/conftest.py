"""What every room's tests share: where the public vectors and real readings stand, if they do."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from node import client, ports

PORT_PARTS = 4
SHARED = Path(__file__).parents[2] / "shared"

# How long an example takes to make says how busy the machine is: no clock decides on a test.
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=60, **UNTIMED)
settings.register_profile("deep", max_examples=2_000, **UNTIMED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def shared_path(*parts: str) -> Path:
    """A file beside the checkout; the calling test is skipped by name where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"../shared/{'/'.join(parts)} is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of vectors and readings beside the checkout."""
    return shared_path()


@pytest.fixture(scope="session", autouse=True)
def own_ports() -> None:
    """Of two runs of tests side by side each finds its networks' ports in a part of its own."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PORT_PARTS
    size = (ports.PORTS_TO - ports.PORTS_FROM) // PORT_PARTS
    first = ports.PORTS_FROM + number * size
    ports.PORTS_FROM, ports.PORTS_TO = first, first + size


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Commands say that they wait where a block takes long, and the doctor that a node is ill which
    answers late: on a busy machine it may be well all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "SLOW_S", 3_600.0)
        patch.setattr("node.doctor.PEER_TIMEOUT_S", 60.0)
        patch.setattr("node.client_checks.TIMEOUT_S", 60.0)
        yield
