"""One devnet for all tests with real clients; each test deploys its own contract."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.main import cli
from tests.devnets import Devnet, run_devnet


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with run_devnet(tmp_path_factory.mktemp("devnet")) as running:
        yield running


@pytest.fixture(scope="session")
def provider_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of el_dapp.Provider, as `wattledger contract build` writes it."""
    path = tmp_path_factory.mktemp("artifact") / "Provider.json"
    done = CliRunner().invoke(cli, ["contract", "build", "el_dapp", "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert json.loads(path.read_text())["contractName"] == "Provider"
    return path
