"""The kit through which contracts are tested, and artifacts as web3.py and ethers take them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import eth_abi
import pytest
from web3 import Web3

from ledger.contract import Contract, Revert
from ledger.contract.artifact import build_artifact, decode_payload
from ledger.contract.testing import (
    CallReceipt,
    CallRefused,
    Chain,
    ContractOutOfGas,
    ContractPanic,
    Unauthorized,
    make_account,
)
from ledger.errors import ContractRejected

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / ".tools" / "node" / "node_modules"
PATH = Path(__file__).parent / "twins" / "usage.py"
OWNER, METER, STRANGER = make_account("owner"), make_account("meter"), make_account("stranger")


@pytest.fixture(scope="module")
def usage():
    """The author's module, as a test of his would import it."""
    sys.path.insert(0, str(PATH.parent))
    try:
        import usage
    finally:
        sys.path.remove(str(PATH.parent))
    return usage


@pytest.fixture
def chain():
    return Chain(timestamp=1_700_000_000)


@pytest.fixture
def metering(chain, usage):
    deployed = chain.deploy(usage.Metering, sender=OWNER)
    deployed.enrol(METER, "Zähler 1", sender=OWNER)
    return deployed


def test_a_meter_reports_each_period_once(metering, usage):
    receipt = metering.set_usage(7, 0, sender=METER)  # zero is a reading

    assert receipt.events == [usage.UsageSet(METER, 7, 0)]
    assert receipt.events != [usage.UsageSet(METER, 7, 1)]
    assert receipt.returned == 8
    assert 5_000 < receipt.gas_used < 50_000
    with pytest.raises(usage.AlreadySet) as caught:
        metering.set_usage(7, 1_250, sender=METER)
    assert caught.value == usage.AlreadySet(METER, 7)
    assert metering.get_usage(METER, 7) == 0


def test_structs_go_in_and_come_out_as_the_authors_own(metering, usage):
    entries = [usage.Entry(1, 10), usage.Entry(2, 20)]
    receipt = metering.set_many(entries, sender=METER)
    assert receipt.events == [usage.Listed(entries)]
    assert metering.get_entry(METER, 2) == usage.Entry(2, 20)
    assert metering.get_name(METER) == ("Zähler 1", True)


def test_who_lacks_the_role_is_told_which(metering):
    with pytest.raises(Unauthorized) as caught:
        metering.set_usage(7, 0, sender=STRANGER)
    assert caught.value == Unauthorized(STRANGER, "meters")
    metering.dismiss(METER, sender=OWNER)
    with pytest.raises(Unauthorized):
        metering.set_usage(7, 0, sender=METER)


def test_panics_refusals_and_out_of_gas_are_their_own_errors(metering):
    with pytest.raises(ContractPanic, match="0x32"):
        metering.get_usage(METER, 9)
    with pytest.raises(CallRefused, match="has 0 wei"):
        metering.pay(sender=METER, value=1)
    metering._chain.state.set_balance(METER, 1)
    with pytest.raises(CallRefused):
        metering.set_usage(7, 0, sender=METER, value=1)
    with pytest.raises(ContractOutOfGas):
        metering.fill(gas=200_000)
    with pytest.raises(ContractOutOfGas):
        metering.set_usage(7, 0, sender=METER, gas=5_000)
    assert metering.get_name(METER) == ("Zähler 1", True)
    assert metering.get_count() == 0  # nothing is left of the call that ran out


def test_coin_moves_with_a_payable_call(chain, metering):
    chain.state.set_balance(METER, 100)
    assert metering.pay(sender=METER, value=30).returned == 30
    assert metering.pay(sender=METER, value=5).returned == 35
    assert chain.state.get_balance(METER) == 65
    assert chain.state.get_balance(metering.address) == 35


def test_time_is_set_by_the_test(chain, metering):
    chain.timestamp = 86_400 * 3 + 1
    assert metering.get_day() == 3


def test_a_path_deploys_too_and_only_outside_methods_are_there(chain):
    deployed = chain.deploy(PATH, sender=OWNER)
    receipt = deployed.enrol(METER, "x", sender=OWNER)
    assert isinstance(receipt, CallReceipt) and receipt.events == []
    assert deployed.address != chain.deploy(str(PATH), sender=OWNER).address
    with pytest.raises(AttributeError, match="no method burn"):
        deployed.burn()


def test_a_source_that_breaks_a_rule_names_it(chain, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("from ledger.contract import Contract\n\n\nclass Bad(Contract):\n    x = 1.5\n")
    with pytest.raises(ContractRejected):
        chain.deploy(path)


# ---- artifacts -----------------------------------------------------------------------------------


def test_web3_deploys_from_the_artifact_alone():
    artifact = build_artifact(PATH.read_bytes())
    assert artifact["contractName"] == "Metering"
    factory = Web3().eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    data = bytes.fromhex(factory.constructor().data_in_transaction[2:])
    assert decode_payload(data) == (PATH.read_bytes(), b"")

    provider = build_artifact((ROOT / "contracts_py" / "el_dapp.py").read_bytes())
    factory = Web3().eth.contract(abi=provider["abi"], bytecode=provider["bytecode"])
    data = bytes.fromhex(factory.constructor("Tata", "power").data_in_transaction[2:])
    assert decode_payload(data)[1] == eth_abi.encode(["string", "string"], ["Tata", "power"])


def test_ethers_reads_the_abi_and_appends_the_arguments():
    if not (NODE_MODULES / "ethers").is_dir() or shutil.which("node") is None:
        pytest.skip("ethers: npm install --prefix .tools/node solc ethers @ethereumjs/evm")
    source = (ROOT / "contracts_py" / "el_dapp.py").read_bytes()
    script = """
    const { ContractFactory, Interface } = require("ethers");
    const { abi, bytecode } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    new ContractFactory(abi, bytecode).getDeployTransaction("Tata", "power").then((made) => {
      const face = new Interface(abi);
      console.log(JSON.stringify({
        data: made.data,
        call: face.encodeFunctionData("setDebt", [1, 2, "0x" + "11".repeat(20)]),
        signatures: face.fragments.map((each) => each.format("minimal")),
      }));
    });
    """
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps(build_artifact(source)),
        capture_output=True,
        text=True,
        check=True,
        env={"NODE_PATH": str(NODE_MODULES), "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    answer = json.loads(done.stdout)
    arguments = eth_abi.encode(["string", "string"], ["Tata", "power"])
    assert decode_payload(bytes.fromhex(answer["data"][2:])) == (source, arguments)
    values = eth_abi.encode(["uint256", "uint256", "address"], [1, 2, b"\x11" * 20])
    selector = Web3.keccak(text="setDebt(uint256,uint256,address)")[:4]
    assert answer["call"] == "0x" + (selector + values).hex()
    daily = "function dailyUsage(address,uint32) view returns (uint256)"
    assert daily in answer["signatures"]


# ---- the authoring API ---------------------------------------------------------------------------


def test_the_authors_source_passes_strict_typing():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", str(PATH)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout


def test_a_wrong_type_is_seen_before_anything_runs(tmp_path):
    wrong = PATH.read_text().replace("period + 1", "meter")
    path = tmp_path / "wrong.py"
    path.write_text(wrong)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "Incompatible return value type" in done.stdout


def test_records_are_equal_by_value_and_reverts_can_be_raised(usage):
    assert usage.Entry(1, 2) == usage.Entry(period=1, energy_wh=2) != usage.Entry(1, 3)
    assert len({usage.Entry(1, 2), usage.Entry(1, 2)}) == 1
    assert issubclass(usage.AlreadySet, Revert) and issubclass(usage.Metering, Contract)
    with pytest.raises(usage.AlreadySet, match="7"):
        raise usage.AlreadySet(METER, 7)
