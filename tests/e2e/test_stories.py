"""The stories on one network of real processes, short; and one as a newcomer types it.

What they show is compared with sums made here from the readings' files, and with the state as
eth_call gives it by selectors made here.
"""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from eth_abi import decode, encode
from eth_utils import keccak
from rich.console import Console

from node.demo.stories import auction, channel, el_dapp, microgrid, wattcoin
from node.demo.stories.contract import Deployed
from node.demo.stories.figures import Comparison
from node.demo.stories.stage import Stage, open_stage
from tests.e2e.networks import patience

ROOT = Path(__file__).parents[2]
COLUMNS = 80
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", autouse=True)
def readings() -> None:
    try:
        distribution("eemeter")
    except PackageNotFoundError:
        pytest.skip("the stories' readings, the package eemeter, are not installed")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    opened = open_stage(tmp_path_factory.mktemp("stories") / "stage")
    yield opened
    opened.close()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=COLUMNS, force_terminal=False)


def ours(comparison: Comparison) -> dict[str, str]:
    return {one.what: one.ours for one in comparison.figures}


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def last_contract(monkeypatch: pytest.MonkeyPatch) -> list[Deployed]:
    """Every contract that a story deploys from now on."""
    made: list[Deployed] = []
    original = Stage.contract

    def contract(self: Stage, *arguments: object, **options: object) -> Deployed:
        made.append(original(self, *arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(Stage, "contract", contract)
    return made


def ask(stage: Stage, contract: Deployed, signature: str, result: str, *values: object) -> object:
    """eth_call at the last node, encoded by eth-abi."""
    types = signature[signature.index("(") + 1 : -1]
    data = keccak(text=signature)[:4] + (encode(types.split(","), values) if types else b"")
    request = {"to": "0x" + contract.address.hex(), "data": "0x" + data.hex()}
    stage.check_agreement()  # node 4 has what node 1 has
    raw = stage.client(3).call("eth_call", request, "latest")
    return decode([result], bytes.fromhex(raw[2:]))[0]


def energy_of_file(stage: Stage, index: int, hours: int) -> int:
    """Watt-hours in the first rows of a household's file, which have no gap."""
    household = stage.households[index]
    with household.file.open(newline="") as text:
        rows = list(csv.DictReader(text))[: hours * 3_600 // household.interval_s]
    factor = 220 if household.column == "amperes" else 1
    watts = sum(float(row[household.column]) * factor for row in rows)
    return int(watts * household.interval_s / 3_600 + 1e-6)


def test_el_dapp_keeps_what_each_pi_sent(
    stage: Stage, console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(el_dapp, "QUIET_S", 0.3)
    made = last_contract(monkeypatch)
    table = ours(el_dapp.play(stage, console, hours=3, rest_s=0.0))
    assert table["readings final"].startswith("21 of 21, in ")
    assert re.match(r"\d+ ms from send to final", table["time to a block, 4 peers"])
    assert table["power of the air conditioner"].startswith("1,370 to 1,3")
    for index, household in enumerate(stage.households):
        user = stage.person(household.name).address
        usage = ask(stage, made[0], "getUsage(address)", "uint256", user)
        assert usage == energy_of_file(stage, index, 3)
    assert "home 1 is refused: NotActive" in shown(console)
    run_listing_4(stage, made[0], tmp_path)


def run_listing_4(stage: Stage, contract: Deployed, folder: Path) -> None:
    """The published script itself, by web3.py, as one more user of the story's contract."""
    pi = stage.person("a Pi with web3.py")
    contract.send(stage.person("provider"), "addUser", pi.address)
    (folder / "pi.key").write_text(pi.key.hex())
    (folder / "Provider.json").write_text(json.dumps({"abi": contract.entries}))
    url = f"http://127.0.0.1:{stage.network.members[3].rpc_port}"
    stage.check_agreement()
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "listing4.py"), url,
         "0x" + contract.address.hex(), "pi.key", "1250"],
        cwd=folder, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("final in block ")
    assert ask(stage, contract, "getUsage(address)", "uint256", pi.address) == 1_250
    assert ask(stage, contract, "getBill(address)", "uint256", pi.address) == 370


def test_wattcoin_cuts_the_supply_of_who_does_not_pay(
    stage: Stage, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = last_contract(monkeypatch)
    monkeypatch.setattr(wattcoin, "BOUGHT", {"air conditioner": 1})
    table = ours(wattcoin.play(stage, console, hours=4))
    used = energy_of_file(stage, 3, 3)  # 1 + 3 tokens last for less than three hours
    assert table["supply cut after"] == f"3 hours, debt {(used - 4_000) / 1_000:.3f} tokens"
    assert table["a report brought twice"] == "refused: OldCounter"
    assert "paid 7,500 of 10,000 wei sent" in shown(console)
    owed = ask(stage, made[0], "debtOf(address)", "uint256",
               stage.person("air conditioner").address)  # fmt: skip
    assert owed == 0  # the neighbour paid it


def test_microgrid_raises_the_price_each_hour_and_refunds(
    stage: Stage, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microgrid, "DELIVERY_S", int(4 * patience()))
    made = last_contract(monkeypatch)
    table = ours(microgrid.play(stage, console))
    assert table["price, by full hours"] == "1,000,000, 1,100,000, 1,200,000 wei"
    sold = sum(energy_of_file(stage, index, 1) for index in range(3))
    assert table["tax"] == f"{sold * 100:,} of {sold * 1_000:,} wei: 10.0 %"
    assert table["coins left in the contract"] == "0"
    assert ask(stage, made[0], "purchaseCount()", "uint256") == 4
    text = shown(console)
    for words in (
        "│ 59 min 59 s later │ 1,000,000 │ is taken",
        "│ 1 h later │ 1,100,000 │ is refused: PriceAbove",
        "│ 3 h later │ - │ is refused: NoSuchAdvert",
        "before its time: NotDue",
    ):
        assert words in text


def test_channel_takes_two_transactions(stage: Stage, console: Console) -> None:
    table = ours(channel.play(stage, console, payments=300))
    assert table["payments off the chain"] == "300"
    assert table["transactions on chain"] == "2"
    assert f"{300 * 2_960:,} wei paid, {1_000 * 2_960:,} returned" in shown(console)
    assert "and with WrongSignature" in shown(console)


def test_auction_gives_one_price_whoever_came_first(
    stage: Stage, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auction, "SLACK_S_MIN", auction.SLACK_S_MIN * patience())
    monkeypatch.setattr(auction, "SLACK", auction.SLACK * 2)  # this test shares its machine
    made = last_contract(monkeypatch)
    table = ours(auction.play(stage, console))
    # 2,200 Wh are offered; 810 go to the best bid, the rest to the two at 260, by share.
    assert table["price of the hour"] == "240,000 wei a kWh for all"
    assert table["energy traded"] == "2,200 Wh by 6 traders"
    text = shown(console)
    for words in (
        "│ home 1 │ +810 │ 300,000 │ +810 │",
        "│ home 2 │ +1,470 │ 260,000 │ +1,266 │",
        "│ home 3 │ +144 │ 260,000 │ +125 │",
        "│ air conditioner │ +1,456 │ 200,000 │ +0 │",
        "to settle before the meters have spoken is refused: NotMetered",
    ):
        assert words in text
    # Of penalties: 810 - 428, 1,266 - 645 and 600 - 450 Wh, at 50,000 wei a kWh.
    assert table["settled by metered energy"] == "6 of 6, 57,650 wei of penalties"
    surplus = ask(stage, made[1], "surplus()", "uint256")
    assert surplus == 57_650 + 150 * 240 + 240  # what the grid delivered, and a Wh by rounding


def test_a_story_as_a_newcomer_types_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n\n<!-- channel: from the command -->\nold\n<!-- channel: so far -->\nafter\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "node", "demo", "--story", "channel", "--markdown", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=2000, check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": str(COLUMNS), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "Done in" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS
    text = page.read_text()
    assert text.startswith(
        "before\n\n<!-- channel: from the command -->\n\n`wattledger demo --story"
    )
    assert text.endswith("<!-- channel: so far -->\nafter\n")
    assert "old" not in text
    assert "| transactions on chain | 2: open, settle (pattern) | 2 |" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--markdown", "x.md"], "--markdown is for a story"),
        (["--story", "channel", "--data", "README.md"], "a story has readings of its own"),
        (["--story", "nothing"], "is not one of"),
    ],
)
def test_what_does_not_fit_a_story_is_said(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node", "demo", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split())
