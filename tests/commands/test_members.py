"""Four validators become three: `verify bill` follows the change from the network file."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.commands.conftest import FIRST_PERIOD, HOME, METER, OWNER, Grid
from tests.commands.liars import Ask, run_liar
from tests.commands.terminal import fail, succeed
from tests.devnets import run_devnet

NETWORK = "0x0000000000000000000000000000000000001001"


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A reading, then a validator removed by the administrator, then another reading."""
    with run_devnet(tmp_path_factory.mktemp("members"), nodes=4) as devnet:
        rpc = ("--rpc", devnet.url)
        deployed = succeed("contract", "deploy", "metering", 3_600, 0, "--from", OWNER, "--json",
                           *rpc)  # fmt: skip
        grid = Grid(devnet, json.loads(deployed)["address"])
        grid.send(OWNER, "enrol", METER, HOME)
        grid.send(METER, "record", FIRST_PERIOD, 700, 0, 1)
        members = json.loads(
            succeed("contract", "call", NETWORK, "network", "validators", "--json", *rpc)
        )
        succeed("contract", "send", NETWORK, "network", "removeValidator", members[-1],
                "--from", OWNER, *rpc)  # fmt: skip
        grid.send(METER, "record", FIRST_PERIOD + 1, 800, 0, 1)
        yield grid


def command(grid: Grid, url: str, *more: object) -> tuple[object, ...]:
    return ("verify", "bill", "--network", grid.network, *grid.bill, "--rpc", url, *more)


def test_a_change_of_validators_is_followed_by_every_node(changed: Grid) -> None:
    for url in changed.devnet.urls[:3]:
        proved = json.loads(succeed(*command(changed, url, "--json")))
        assert proved["importWh"] == 1_500
        assert proved["proved"]["validators"] == 3
        assert proved["proved"]["signatures"] >= 2
    assert "over 1 change of validators" in succeed(*command(changed, changed.devnet.url))


def test_a_change_that_a_node_hides_is_missed(changed: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        return [] if method == "wattledger_getValidatorChanges" else result

    with run_liar(changed.devnet.url, lie) as url:
        error = fail(*command(changed, url))
    assert "follow the blocks at which they changed first" in error
