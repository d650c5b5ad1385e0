"""ethers 6 under Node.js against a devnet; skipped by name where Node.js or ethers is missing."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ledger.contract.artifact import build_artifact
from tests.contracts_py.sources import read_contract
from tests.devnets import Devnet

pytestmark = pytest.mark.timeout(300)

TOOLS = Path(__file__).parents[2] / ".tools" / "node"
SCRIPT = Path(__file__).with_name("ethers_check.mjs")


def test_ethers_deploys_sends_and_listens(devnet: Devnet, provider_artifact: Path) -> None:
    if shutil.which("node") is None or not (TOOLS / "node_modules" / "ethers").is_dir():
        pytest.skip("ethers is not here: make test installs it where Node.js is")
    done = subprocess.run(
        ["node", str(SCRIPT), str(TOOLS), devnet.url, str(provider_artifact)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["chainId"] == 1947
    assert seen["providerName"] == "Ethers co-op"
    assert (seen["addedStatus"], seen["addedType"], seen["event"]) == (1, 2, "UserAdded")
    assert (seen["legacyType"], seen["usage"], seen["queried"]) == (0, "777", ["777"])
    assert seen["error"] == seen["expectedError"]
    assert seen["nonceError"] == "NONCE_EXPIRED"
    assert seen["subscribed"] is True
    assert seen["batched"] == 40


CONTRACTS = ("wattcoin", "microgrid", "payment_channel", "billing", "double_auction", "metering")


def test_ethers_works_with_every_contract(devnet: Devnet, tmp_path: Path) -> None:
    if shutil.which("node") is None or not (TOOLS / "node_modules" / "ethers").is_dir():
        pytest.skip("ethers is not here: make test installs it where Node.js is")
    for name in CONTRACTS:
        artifact = build_artifact(read_contract(name))
        (tmp_path / f"{name}.json").write_text(json.dumps(artifact))
    done = subprocess.run(
        ["node", str(SCRIPT.with_name("ethers_contracts.mjs")), str(TOOLS), devnet.url,
         str(tmp_path)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "wattcoin": [["Transfer"], "ERC20InsufficientBalance", "5"],
        "permit": [["Approval"], True],
        "microgrid": [["RegulatorAdded"], "NotAllowed"],
        "published": [["EnergyStored"], ["EnergyAdvertised"], ["EnergyRequested"], "1500"],
        "channel": [["Opened"], "NotRecipient", "1000"],
        "closed": ["Closed"],
        "billing": [["Enrolled"], "Unauthorized", "10000"],
        "metering": [["Recorded", "Recorded"], "AlreadyRecorded", "1250,30,2"],
        "auction": [
            ["Deposited"],
            "GateClosed",
            "1000000",
            ["Deposited"],
            ["Placed"],
            "NothingToRelease",
        ],
    }
