"""Each contract's example, as a reader would run it: web3.py against a devnet."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.devnets import Devnet

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "examples"

# What each one shows: its events, and the typed errors that it decodes.
SHOWN = {
    "payment_channel": ["Opened", "WrongSignature(0x", "Closed", "25 payments, 2 transactions"],
    "microgrid": ["AlreadyMember(0x", "NotEnoughEnergy(9000, 8000)", "EnergyRequested",
                  "EnergyDelivered", "[5500, 1000000] tax 250000"],
    "wattcoin": ["Bought", "NotEnoughPaid(30000, 29999)", "Accepted", "MeterUpdated",
                 "OldCounter(0x", "Used", "Exhausted", "supply allowed: False"],
    "billing": ["Deposited", "Unauthorized(0x", "Billed", "ReadingRejected", "Disconnected",
                "Reconnected", "bill [6, 17760, 2] rejected 1"],
    "metering": ["TariffSet", "TermsSet", "Recorded", "AlreadyRecorded(0x", "NotEnrolled(0x",
                 "Unauthorized(0x", "'reason': 'the display says so'", "MeterReplaced",
                 "RegisterChanged", "import, export [", "MonthOpen("],
    "double_auction": ["GateClosed(", "NotYourMeter(0x", "Placed", "GateOpen(",
                       "'step': 200, 'volumeWh': 1500", "got -1500 Wh", "NotMetered(0x"],
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_shows_events_and_errors(devnet: Devnet, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), devnet.url],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place = 0
    for words in SHOWN[name]:  # in this order
        assert words in done.stdout[place:], (words, done.stdout)
        place = done.stdout.index(words, place)
