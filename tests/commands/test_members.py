"""Four validators become three: `verify bill` follows the change from the network file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import FIRST_PERIOD, HOME, METER, OWNER, Grid
from tests.commands.liars import Ask, run_liar
from tests.commands.terminal import fail, succeed
from tests.devnets import run_devnet
from tests.e2e.networks import height_of, until

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
        until(lambda: len({height_of(url) for url in devnet.urls[:3]}) == 1, 30, "all three")
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


def test_members_are_proposed_by_command(changed: Grid) -> None:
    rpc = changed.rpc
    done = succeed("network", "propose", "allow-deployer", METER, "--from", OWNER, *rpc)
    assert done.startswith("proposal 1 is done: it holds from block ")
    found = json.loads(succeed("network", "members", "--json", *rpc))
    assert {"address": METER, "roles": ["deployer"]} in found["members"]
    assert found["voting"] == {
        "who": "administrators", "voters": 1, "votesSet": 0, "needed": 1, "expiryS": 30 * 86_400,
    }  # fmt: skip
    table = succeed("network", "members", *rpc)
    assert "administrator" in table
    assert "1 administrators vote; a proposal needs 1 and lives 30 days" in table
    assert "anyone may transact" in table


def test_a_proposal_that_cannot_be_is_refused_in_words(changed: Grid) -> None:
    rpc = changed.rpc
    propose = ("network", "propose")
    error = fail(*propose, "add-validator", METER, "--from", METER, *rpc)
    assert error == f"the contract refused: NotVoter(caller={METER})"
    assert "say who votes" in fail(*propose, "add-validator", METER, *rpc)
    assert "voting takes WHO VOTES DAYS" in fail(*propose, "voting", "me", 1, 1, *rpc)
    assert "rules takes HEIGHT VERSION" in fail(*propose, "rules", 5, "--from", OWNER, *rpc)
    assert "InvalidRules" in fail(*propose, "rules", 1, 2, "--from", OWNER, *rpc)
    assert "NoProposal(proposal=99)" in fail("network", "vote", 99, "--from", OWNER, *rpc)


def test_an_upgrade_is_approved_and_then_anybody_sends_it(changed: Grid, tmp_path: Path) -> None:
    rpc = changed.rpc
    source = "from ledger.contract import Contract, uint256, view\n\n\nclass Box(Contract):\n"
    source += "    _size: uint256\n\n    @view\n    def size(self) -> uint256:\n        return {}\n"
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    old.write_text(source.format(1))
    new.write_text(source.format(2))
    box = json.loads(succeed("contract", "deploy", old, "--from", OWNER, "--json", *rpc))["address"]
    refused = fail("contract", "upgrade", box, new, "--from", METER, *rpc)
    assert "wattledger network propose upgrade" in refused
    succeed("network", "propose", "upgrade", box, new, "--from", OWNER, *rpc)
    succeed("contract", "upgrade", box, new, "--from", METER, *rpc)
    assert succeed("contract", "call", box, new, "size", *rpc) == "2\n"
    assert "wattledger network propose upgrade" in fail(
        "contract", "upgrade", box, old, "--from", METER, *rpc
    )  # an approval is used once


def test_a_change_that_a_node_hides_is_missed(changed: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        return [] if method == "wattledger_getValidatorChanges" else result

    with run_liar(changed.devnet.url, lie) as url:
        error = fail(*command(changed, url))
    assert "follow the blocks at which they changed first" in error
