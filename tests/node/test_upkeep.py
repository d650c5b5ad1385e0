"""Backup and restore as a drill, blocks in a file, and the doctor."""

import contextlib
import gzip
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import msgpack
import pytest

from ledger.block import decode_certificate
from ledger.store.sqlite import SqliteStore
from node import backup, client_checks
from node.client import Client
from node.doctor import check_memory, check_peers, judge_wear
from node.network_files import STORE_FILE
from tests.commands.terminal import fail, run, succeed
from tests.node.local import Load, add_member, pay, status_of, until

FAST = {"round_timeout_ms": 250}


def store_of(network: Any, index: int) -> Path:
    return Path(network.members[index].folder) / "data" / STORE_FILE


def read_meta(path: Path) -> dict[str, bytes]:
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    connection.close()
    return found


def test_the_drill_a_lost_validator_comes_back_from_a_backup(
    make_local_network: Any, tmp_path: Path
) -> None:
    """Copied under load from another node, put into an empty folder beside the old key."""
    network = make_local_network(4, **FAST)
    network.start()
    out = tmp_path / "backup"
    with Load(network) as load:
        until(lambda: load.sent > 5)
        said = succeed("node", "backup", "--config", network.members[0].config_file, out)
        until(lambda: load.sent > 10)
    assert "the copy was opened and executed" in said
    assert not {"signer", "signer-address"} & set(read_meta(out / STORE_FILE))
    manifest = json.loads((out / "backup.json").read_text())
    assert manifest["height"] >= 5
    assert "node.key" not in {one.name for one in out.iterdir()}

    network.stop(3)
    shutil.rmtree(store_of(network, 3).parent)  # the card died; the key was kept elsewhere
    said = succeed("node", "restore", "--config", network.members[3].config_file, out)
    assert "there is no signer record, for none is ever in a backup" in " ".join(said.split())
    network.start(3)
    until(lambda: network.nodes[3].chain.head.number >= network.nodes[0].chain.head.number)
    nonce = load.sent
    while network.nodes[3].engine.explain(0).trouble is not None:
        pay(network, nonce)
        nonce += 1
        until(lambda: network.nodes[3].chain.head.number >= network.nodes[0].chain.head.number)
        assert nonce < load.sent + 12, status_of(network, 3)["explanation"]
    network.stop(0)
    pay(network, nonce, index=3)  # its vote is needed now


def die() -> None:
    raise KeyboardInterrupt


def test_a_restore_over_a_chain_keeps_its_signer_record(
    make_local_network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_local_network(1)
    network.start()
    pay(network, 0)
    config, out = network.members[0].config_file, tmp_path / "backup"
    succeed("node", "backup", "--config", config, out)
    for nonce in (1, 2, 3):
        pay(network, nonce)
    assert "exists" in fail("node", "backup", "--config", config, out)
    assert "stop the node first" in fail("node", "restore", "--config", config, "--replace", out)
    network.stop()
    before = read_meta(store_of(network, 0))
    assert "--replace" in fail("node", "restore", "--config", config, out)
    with monkeypatch.context() as patch:  # killed right before its last step
        patch.setattr(backup, "_clear_beside", lambda path: path != store_of(network, 0) or die())
        with pytest.raises(KeyboardInterrupt):
            backup.restore_backup(out, config, replace=True)
    assert read_meta(store_of(network, 0))["signer"] == before["signer"]
    for one in store_of(network, 0).parent.glob("*.before-restore-*"):
        one.unlink()
    said = succeed("node", "restore", "--config", config, "--replace", out)
    assert "block 1 is the head" in said
    assert "the signer record stayed" in said
    after = read_meta(store_of(network, 0))
    assert after["signer"] == before["signer"]
    assert after["signer-address"] == before["signer-address"]
    assert len(list(store_of(network, 0).parent.glob("*.before-restore-*"))) == 1
    network.start()  # it signed up to block 4, and signs nothing below block 5 again
    assert "it may sign again from block 5 on" in status_of(network, 0)["explanation"]


@pytest.mark.parametrize("name", ["chain.sqlite", "network.json", "backup.json"])
def test_a_backup_that_was_touched_is_refused(
    make_local_network: Any, tmp_path: Path, name: str
) -> None:
    network = make_local_network(1)
    network.start()
    pay(network, 0)
    out, config = tmp_path / "backup", network.members[0].config_file
    succeed("node", "backup", "--config", config, out)
    network.stop()
    data = bytearray((out / name).read_bytes())
    data[len(data) // 2] ^= 1
    (out / name).write_bytes(data)
    before = store_of(network, 0).read_bytes()
    assert str(out) in fail("node", "restore", "--config", config, "--replace", out)
    assert store_of(network, 0).read_bytes() == before


def test_a_backup_of_another_network_is_refused(make_local_network: Any, tmp_path: Path) -> None:
    mine, other = make_local_network(1), make_local_network(1)
    mine.start()
    pay(mine, 0)
    out = tmp_path / "backup"
    succeed("node", "backup", "--config", mine.members[0].config_file, out)
    config = other.members[0].config_file
    store_of(other, 0).unlink()
    assert "belongs to network" in fail("node", "restore", "--config", config, out)
    nowhere = fail("node", "restore", "--config", config, tmp_path)
    assert "is this a backup?" in nowhere


@pytest.fixture
def exported(make_local_network: Any, tmp_path: Path) -> tuple[Any, Path, int]:
    """A stopped network of two, its blocks in a file, and the index of a node without any.

    There may be empty blocks among them, on a machine where a round takes longer than usual.
    """
    network = make_local_network(2, **FAST)
    fresh = add_member(network, "fresh")
    network.start(0, 1)
    for nonce in range(5):
        pay(network, nonce)
    config, out = network.members[0].config_file, tmp_path / "blocks.gz"
    assert "in use by another process" in fail("node", "export", "--config", config, out)
    until(lambda: len(set(network.heads())) == 1)
    network.stop()
    said = succeed("node", "export", "--config", config, out)
    with contextlib.closing(SqliteStore(store_of(network, 0))) as store:
        network.last = store.head_height()
    assert network.last >= 5
    assert said.endswith(f" {network.last} blocks\n")
    return network, out, fresh


def test_blocks_travel_in_a_file(exported: Any) -> None:
    network, path, fresh = exported
    config = network.members[fresh].config_file
    said = succeed("node", "import", "--config", config, path)
    last = network.last
    assert said == (
        f"{last} new blocks, each with its certificate or its work; block {last} is the head\n"
    )
    assert succeed("node", "import", "--config", config, path).startswith("0 new blocks")
    stores = [SqliteStore(store_of(network, index)) for index in (0, fresh)]
    headers = [[store.get_header(height) for height in range(last + 1)] for store in stores]
    assert headers[0] == headers[1]
    for store in stores:
        store.close()


def rewrite(path: Path, change: Any) -> None:
    with gzip.open(path) as file:
        items = list(msgpack.Unpacker(file))
    with gzip.open(path, "wb") as file:
        for item in change(items):
            file.write(msgpack.packb(item))


def forge(items: list[Any]) -> list[Any]:
    """Block 3 with a signature of nobody."""
    certificate = decode_certificate(items[3][1])
    spoilt = (bytes(64) + b"\1", *certificate.signatures[1:])
    forged = type(certificate)(3, certificate.round, certificate.block_hash, spoilt)
    return [*items[:3], [items[3][0], forged.encode()], *items[4:]]


@pytest.mark.parametrize(
    ("change", "words", "head"),
    [
        (forge, "block 3: certificate of block 3", 2),
        (lambda items: [*items[:2], *items[3:]], "block 3: block 2 is missing before it", 1),
        (lambda items: [*items[:3], ["?"]], "after block 2: not a file of blocks", 2),
        (lambda items: items[1:], "not a file of blocks", 0),
        (lambda items: [*items[:2], [[]] * 100_000], "not a file of blocks", 1),
        (lambda items: [*items[:2], {"a": 1}], "not a file of blocks", 1),
        (lambda items: [[*items[0][:1], 7, items[0][2]]], "another network, chain id 7", 0),
    ],
)
def test_a_file_is_trusted_no_more_than_a_peer(
    exported: Any, change: Any, words: str, head: int
) -> None:
    network, path, fresh = exported
    rewrite(path, change)
    assert words in fail("node", "import", "--config", network.members[fresh].config_file, path)
    store = SqliteStore(store_of(network, fresh))
    assert store.head_height() == head
    store.close()


def test_a_file_cut_off_gives_what_is_whole(exported: Any, tmp_path: Path) -> None:
    network, path, fresh = exported
    cut = tmp_path / "cut.gz"
    cut.write_bytes(path.read_bytes()[:-200])
    config = network.members[fresh].config_file
    assert "cut off" in fail("node", "import", "--config", config, cut)
    cut.write_bytes(b"no gzip")
    assert "not a file of blocks" in fail("node", "import", "--config", config, cut)


def test_the_doctor_finds_a_well_node_well(one_node: Any) -> None:
    config = one_node.members[0].config_file
    found = json.loads(run("node", "doctor", "--config", config, "--json").out)
    levels = {one["what"]: one["level"] for one in found}
    for what in ("network", "MetaMask", "web3.py", "ethers", "ESP32 (Web3E)"):
        assert levels[what] == "ok", found
    assert {"disk space", "disk speed", "card wear", "memory", "peers"} <= set(levels)
    table = run("node", "doctor", "--rpc", one_node.url()).out
    assert "is answered as it expects" in table


def test_the_doctor_says_when_nobody_answers() -> None:
    done = run("node", "doctor", "--rpc", "http://127.0.0.1:9", "--json")
    assert done.code == 1
    (first, *_) = json.loads(done.out)
    assert (first["level"], first["what"]) == ("fail", "node")
    assert "systemctl status" in first["advice"]


def test_the_doctor_compares_clocks_and_versions() -> None:
    status = {"version": "0.1.0"}
    peers: Any = {"a": (status, 10), "b": ({"version": "0.2.0"}, -20), "c": "no answer"}
    clock, versions = check_peers(status, 5_000, peers)
    assert (clock.level, clock.said) == ("fail", "5.0 s ahead of the others")
    assert (versions.level, versions.said) == ("warn", "this node has 0.1.0, others: b 0.2.0")
    clock, versions = check_peers(status, -400, {"a": (status, 0)})
    assert (clock.level, clock.said) == ("ok", "0.4 s behind the others")
    assert versions.level == "ok"


def test_the_doctor_knows_when_a_card_and_memory_run_out(tmp_path: Path) -> None:
    assert judge_wear(100e6, 32_000_000_000).level == "ok"
    worn = judge_wear(5e9, 32_000_000_000)
    assert worn.level == "warn"
    assert worn.said == "5000 MB a day: a cheap card of 32 GB lasts some 2.2 years"
    (tmp_path / "meminfo").write_text("MemTotal: 900000 kB\nMemAvailable: 50000 kB\n")
    assert check_memory(tmp_path / "meminfo").level == "warn"


class Proxy(Client):
    """A node behind something that changes what it says."""

    def __init__(self, url: str, lie: Any) -> None:
        super().__init__(url)
        self._lie = lie

    def call(self, method: str, *params: Any) -> Any:
        return self._lie(method, super().call(method, *params))


@pytest.mark.parametrize(
    ("name", "method", "answer", "words"),
    [
        ("MetaMask", "net_version", "1", "net_version is not the chain id"),
        ("MetaMask", "eth_chainId", "0x10000000000000", "is above"),
        ("web3.py", "eth_getTransactionReceipt", {}, "it stops waiting"),
        ("ethers", "eth_call", "0x", "a call that a contract refuses succeeds"),
        ("ESP32 (Web3E)", "net_listening", False, "net_listening"),
    ],
)
def test_the_doctor_sees_what_a_client_would_stumble_over(
    one_node: Any, monkeypatch: Any, name: str, method: str, answer: Any, words: str
) -> None:
    def lie(asked: str, result: Any) -> Any:
        return answer if asked == method else result

    if method == "eth_call":
        monkeypatch.setattr(Client, "call", _ignoring_reverts(Client.call))
    client = Proxy(one_node.url(), lie)
    found = {one.what: one for one in client_checks.check_clients(client)}
    client.close()
    assert found[name].level == "fail"
    assert words in found[name].said


def _ignoring_reverts(call: Any) -> Any:
    def wrapped(self: Any, method: str, *params: Any) -> Any:
        return "0x" if method == "eth_call" else call(self, method, *params)

    return wrapped


def test_a_partial_backup_of_before_is_no_hindrance(
    make_local_network: Any, tmp_path: Path
) -> None:
    network = make_local_network(1)
    config = network.members[0].config_file
    (tmp_path / "backup.partial").mkdir()
    network.start()
    succeed("node", "backup", "--config", config, tmp_path / "backup")
    assert not (tmp_path / "backup.partial").exists()
