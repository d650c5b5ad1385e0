"""Commands on a mined chain: nothing is final there, and whatever depends on it says so."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.crypto.address import to_checksum
from ledger.work import SETTLED_BLOCKS
from node.client import Client
from tests.commands.terminal import fail, run, succeed
from tests.devnets import Devnet, run_devnet
from tests.e2e.networks import until

OWNER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A devnet of one miner: a block a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        folder = tmp_path_factory.mktemp("mined")
        with run_devnet(folder, arguments=("--consensus", "pow")) as devnet:
            yield devnet


def rpc(devnet: Devnet) -> tuple[str, str]:
    return ("--rpc", devnet.url)


def await_settled(devnet: Devnet) -> None:
    """Until all that was sent has its blocks on top, and the chain rests."""
    client = Client(devnet.url)
    until(lambda: not client.call("wattledger_status")["mining"], 120, "the chain to rest")
    client.close()


def test_a_network_file_chooses_proof_of_work(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    succeed(
        "network", "new", "--out", out, "--nodes", 2, "--consensus", "pow", "--difficulty", 5_000
    )
    written = json.loads((out / "network.json").read_text())
    assert (written["consensus"], written["difficulty"]) == ("pow", 5_000)
    new = ("node", "new", "--network", out / "network.json", "--name", "n3", "--host", "10.0.0.3")
    said = succeed(*new, "--out", tmp_path / "n3")
    assert "let it connect and mine: wattledger network propose allow-node" in said
    assert "validate" not in said
    override = ("network", "override", "--network", out / "network.json", "--height", 7)
    assert "nobody votes there" in fail(*override, "--validator", PAYEE)


def test_without_it_a_network_votes_and_has_no_difficulty(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    succeed("network", "new", "--out", out, "--nodes", 1)
    written = json.loads((out / "network.json").read_text())
    assert written["consensus"] == "qbft"
    assert "difficulty" not in written
    new = ("node", "new", "--network", out / "network.json", "--name", "n2", "--host", "10.0.0.2")
    assert "validate once it says that it is ready" in succeed(*new, "--out", tmp_path / "n2")


def test_a_story_votes(tmp_path: Path) -> None:
    assert "leave out --consensus" in fail("demo", "--story", "auction", "--consensus", "pow")


@pytest.mark.timeout(300)
def test_who_sends_is_told_what_a_mined_block_is_worth(mined: Devnet) -> None:
    done = run("account", "send", OWNER, PAYEE, "1.5", *rpc(mined))
    assert done.code == 0
    assert done.out.startswith("sent in block ")
    first, second = done.err.splitlines()[-2:]
    assert first.startswith("block ") and "is mined, not final" in first
    assert f"settled with {SETTLED_BLOCKS} blocks (confirmations) on top" in second
    proposed = run("network", "propose", "allow-account", PAYEE, "--from", OWNER, *rpc(mined))
    assert proposed.code == 0 and "is mined, not final" in proposed.err
    assert run("network", "members", *rpc(mined)).code == 0


@pytest.mark.timeout(300)
def test_status_and_doctor_of_a_mined_network(mined: Devnet) -> None:
    said = " ".join(
        succeed("node", "status", *rpc(mined)).split()
    )  # lines break at a terminal's end
    assert "Proof of work: nothing is final here." in said
    assert "validators" not in said.split("Proof of work")[1]
    assert "waits for" not in said
    config = mined.data / "network" / "node1" / "node.toml"
    done = run("node", "doctor", "--config", config, *rpc(mined))
    assert "FAIL" not in done.out, done.out
    assert "Proof of work" in " ".join(done.out.split())


@pytest.mark.timeout(300)
def test_a_payment_counts_once_the_channel_is_settled(mined: Devnet, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "password").write_text("secret\n")
    keys = ("--keystore", tmp_path / "keys", "--password-file", tmp_path / "password")
    succeed("account", "import", tmp_path / "key", *keys)
    deploy = run("contract", "deploy", "payment_channel", "--from", OWNER, "--json", *rpc(mined))
    assert "is mined, not final" in deploy.err
    contract = ("--contract", json.loads(deploy.out)["address"], *rpc(mined))
    for number in range(1, 6):  # on a busy machine so many blocks may be there already
        opened = run("channel", "open", PAYEE, "1", "--from", OWNER, *keys, *contract)
        assert opened.code == 0, opened
        message = tmp_path / f"{number}.json"
        pay = ("channel", "pay", number, "0.25", "--from", OWNER, *keys, *contract)
        message.write_text(succeed(*pay))
        accept = ("channel", "accept", message, "--recipient", PAYEE, "--till", tmp_path / "till")
        tried = run(*accept, *contract)
        if tried.code:
            break
    assert f"until {SETTLED_BLOCKS} blocks stand" in tried.err
    await_settled(mined)
    assert "0.25 in all" in succeed(*accept, *contract)


@pytest.mark.timeout(300)
def test_a_bill_is_proved_by_work(mined: Devnet) -> None:
    deploy = run("contract", "deploy", "metering", 3_600, 0, "--from", OWNER, "--json", *rpc(mined))
    contract = json.loads(deploy.out)["address"]

    def send(sender: str, method: str, *arguments: object) -> None:
        done = run("contract", "send", contract, "metering", method, *arguments,
                   "--from", sender, *rpc(mined))  # fmt: skip
        assert done.code == 0 and "is mined, not final" in done.err, done

    send(OWNER, "setTariff", 0, "true", "[20]", "[300, 500]")
    send(OWNER, "enrol", PAYEE, to_checksum(b"\7" * 20))
    send(PAYEE, "record", 490_896, 1_234, 0, 1)  # 2026-01-01 00:00
    bill = ("--contract", contract, "--account", to_checksum(b"\7" * 20), "--month", "2026-01")
    network = mined.data / "network" / "network.json"
    assert "1.234" in succeed("usage", *bill, *rpc(mined))
    await_settled(mined)
    proved = " ".join(succeed("verify", "bill", "--network", network, *bill, *rpc(mined)).split())
    assert "hashes of work on average" in proved
    assert "a branch with more work may replace it" in proved
