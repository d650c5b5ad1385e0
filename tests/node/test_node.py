"""Nodes with real files and sockets: agreement, catching up, restarts, a full disk."""

import sqlite3
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.errors import DiskFull, StoreError
from ledger.genesis import NETWORK_CONTRACT
from ledger.store.sqlite import SqliteStore
from ledger.transaction import Transaction, sign_transaction
from node import interpreter
from node import node as node_module
from node.client import Client, RpcError
from node.errors import NodeError
from node.network_files import KEY_FILE, STORE_FILE
from node.node import Node
from node.ports import free_ports
from tests.node.local import until


def transfer(network: Any, nonce: int, account: int = 1, **fields: Any) -> Transaction:
    key = network.keys[network.accounts[account]]
    values: dict[str, Any] = {"gas": 21_000, "gas_price": 0, "to": network.accounts[9]} | fields
    return sign_transaction(key, chain_id=1947, nonce=nonce, **values)


def send_many(client: Client, network: Any, first: int, count: int) -> list[str]:
    made = [transfer(network, first + index) for index in range(count)]
    return client.batch([("eth_sendRawTransaction", ["0x" + one.raw.hex()]) for one in made])


def all_connected(network: Any) -> bool:
    return all(len(node.network.peers) == len(network.nodes) - 1 for node in network.nodes.values())


def agree(network: Any, height: int = 0) -> bool:
    heads = set(network.heads())
    return len(heads) == 1 and heads.pop()[0] >= height


def test_four_nodes_agree_whoever_is_asked(make_local_network: Any) -> None:
    network = make_local_network(4)
    network.start()
    until(lambda: all_connected(network))
    clients = [network.client(index) for index in range(4)]
    for nonce, client in enumerate(clients * 2):
        sent = client.call("eth_sendRawTransaction", "0x" + transfer(network, nonce).raw.hex())
        client.wait_for_receipt(sent)
    until(lambda: agree(network, 1))
    # Who knows that all are neighbours passes nothing on: in a full mesh each line carries it once.
    until(
        lambda: all(
            len(peer.neighbours) == 2
            for node in network.nodes.values()
            for peer in node.network.peers.values()
        )
    )
    balances = {c.call("eth_getBalance", to_checksum(network.accounts[1])) for c in clients}
    assert len(balances) == 1
    peers = clients[0].call("admin_peers")
    assert sorted(peer["name"] for peer in peers) == ["node2", "node3", "node4"]
    for client in clients:
        client.close()


def test_a_transaction_reaches_who_proposes_through_the_others(make_local_network: Any) -> None:
    """Each node in turn is the only one that heard of it first."""
    network = make_local_network(3)
    network.start()
    until(lambda: all_connected(network))
    for nonce in range(6):
        client = network.client(nonce % 3)
        sent = client.call("eth_sendRawTransaction", "0x" + transfer(network, nonce).raw.hex())
        receipt = client.wait_for_receipt(sent)
        assert receipt["status"] == "0x1"
        client.close()


def test_who_was_away_catches_up_and_takes_part_again(make_local_network: Any) -> None:
    network = make_local_network(4, round_timeout_ms=250)
    network.start()
    until(lambda: all_connected(network))
    network.stop(3)
    client = network.client(0)
    for nonce in range(24):
        sent = client.call("eth_sendRawTransaction", "0x" + transfer(network, nonce).raw.hex())
        client.wait_for_receipt(sent)
    assert client.height() >= 20
    network.start(3)
    until(lambda: agree(network, 20))
    network.stop(0)  # now its vote is needed
    other = network.client(3)
    sent = other.call("eth_sendRawTransaction", "0x" + transfer(network, 24).raw.hex())
    assert other.wait_for_receipt(sent)["status"] == "0x1"
    client.close()
    other.close()


def test_a_transaction_sent_while_too_few_are_there_is_included_later(
    make_local_network: Any,
) -> None:
    network = make_local_network(4, round_timeout_ms=500)
    network.start(0, 1)
    until(lambda: all_connected(network))
    client = network.client(0)
    sent = client.call("eth_sendRawTransaction", "0x" + transfer(network, 0).raw.hex())
    time.sleep(2)
    assert client.call("eth_getTransactionReceipt", sent) is None
    sender = to_checksum(network.accounts[1])
    assert client.call("eth_getTransactionCount", sender, "latest") == "0x0"
    assert client.call("eth_getTransactionCount", sender, "pending") == "0x1"
    assert client.call("txpool_status") == {"pending": "0x1", "queued": "0x0"}
    words = "No block can be made: 3 of 4 validators are needed and 2 can be reached"
    until(lambda: words in client.call("wattledger_status")["explanation"])
    status = client.call("wattledger_status")
    assert "node3" in status["explanation"] and "node4" in status["explanation"]
    assert sorted(one.split()[0] for one in status["notConnected"]) == ["node3", "node4"]
    network.start(2)
    assert client.wait_for_receipt(sent)["status"] == "0x1"
    assert client.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    client.close()


def test_everything_is_there_after_a_clean_restart(make_local_network: Any) -> None:
    network = make_local_network(1)
    network.start()
    client = network.client()
    sent = send_many(client, network, 0, 50)
    receipt = client.wait_for_receipt(sent[-1])
    log_filter = client.call("eth_newFilter", {})
    head = client.height()
    client.close()
    network.stop()
    network.start()
    client = network.client()
    assert client.height() == head
    assert client.call("eth_getTransactionReceipt", sent[-1]) == receipt
    assert client.call("eth_getFilterChanges", log_filter) == []  # it lives through a restart
    again = send_many(client, network, 50, 1)
    client.wait_for_receipt(again[0])
    assert client.height() == head + 1  # no empty block: the stop was clean
    client.close()


class FullDisk:
    """Makes a store refuse to write, as a full disk does, until it is told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
        self.full = False
        for name in ("append_block", "save_signer", "put_durable", "flush", "set_meta"):
            monkeypatch.setattr(node.chain.store, name, self.wrap(getattr(node.chain.store, name)))

    def wrap(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            if self.full:
                raise DiskFull("database or disk is full")
            return write(*args, **named)

        return guarded


def test_a_full_disk_stops_signing_and_no_more(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "DISK_RETRY_S", 0.3)
    network = make_local_network(1)
    network.start()
    client = network.client()
    first = send_many(client, network, 0, 3)
    client.wait_for_receipt(first[-1])
    disk = FullDisk(monkeypatch, network.nodes[0])
    disk.full = True
    head = client.height()
    (sent,) = send_many(client, network, 3, 1)
    until(lambda: client.call("wattledger_status")["trouble"])
    assert (
        "the disk failed: database or disk is full"
        in (client.call("wattledger_status")["explanation"])
    )
    assert client.height() == head
    assert client.call("eth_getTransactionReceipt", sent) is None
    assert client.call("eth_getTransactionReceipt", first[0])["status"] == "0x1"
    (heard_meanwhile,) = send_many(client, network, 4, 1)
    disk.full = False
    assert client.wait_for_receipt(sent)["status"] == "0x1"
    assert client.wait_for_receipt(heard_meanwhile)["status"] == "0x1"
    until(lambda: client.call("wattledger_status")["trouble"] is None)
    assert "the disk works again" in network.logs[0].getvalue()
    client.close()


def test_what_comes_while_a_quiet_disk_is_full_is_included_later(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine had stopped before the transaction came, and hears of it when it starts again."""
    monkeypatch.setattr(interpreter, "DISK_RETRY_S", 0.3)
    network = make_local_network(1)
    network.start()
    node = network.nodes[0]
    disk = FullDisk(monkeypatch, node)
    disk.full = True
    network.loop.call_soon_threadsafe(
        node.interpreter.note_flush_failed, DiskFull("database or disk is full")
    )
    until(lambda: node.interpreter.trouble)
    client = network.client()
    (sent,) = send_many(client, network, 0, 1)
    time.sleep(0.5)
    assert client.height() == 0
    disk.full = False
    assert client.wait_for_receipt(sent)["status"] == "0x1"
    client.close()


def test_json_rpc_in_tls_with_the_nodes_own_certificate(make_local_network: Any) -> None:
    """What an ESP32 needs: TLS, where it accepts a certificate that signed itself."""
    network = make_local_network(1)
    (port,) = free_ports(1)
    network.start(rpc_tls_port=port)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
    request = urllib.request.Request(
        f"https://127.0.0.1:{port}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, context=context) as reply:
        assert reply.read() == b'{"jsonrpc":"2.0","id":1,"result":"0x79b"}'
    network.stop()
    key = network.members[0].folder / "node.key"
    with pytest.raises(NodeError, match="not a certificate with its private key"):
        network.start(rpc_tls_port=port, rpc_tls_certificate=key, rpc_tls_key=key)


def test_a_full_disk_does_not_end_the_tick(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters are saved from time to time; where that fails, statuses must go on."""
    monkeypatch.setattr(node_module, "FILTERS_SAVE_TICKS", 1)
    monkeypatch.setattr(node_module, "TICK_S", 0.05)
    network = make_local_network(1)
    network.start()
    node = network.nodes[0]
    disk = FullDisk(monkeypatch, node)
    disk.full = True
    client = network.client()
    client.call("eth_newBlockFilter")
    until(lambda: "the disk failed" in network.logs[0].getvalue())
    ticks = node._ticks
    until(lambda: node._ticks > ticks + 2)
    disk.full = False
    until(lambda: not node.filters.changed)
    assert node._ticks > ticks + 2
    client.close()


def test_two_daemons_on_one_folder_and_another_network_are_refused(
    make_local_network: Any,
) -> None:
    network = make_local_network(1)
    network.start()
    with pytest.raises(StoreError, match="in use by another process"):
        SqliteStore(network.members[0].folder / "data" / STORE_FILE)
    network.stop()
    other = make_local_network(1)
    data = other.members[0].folder / "data" / STORE_FILE
    data.write_bytes((network.members[0].folder / "data" / STORE_FILE).read_bytes())
    with pytest.raises(StoreError, match="belongs to network 0x"):
        other.start()


def test_a_damaged_signer_record_is_refused_with_what_to_do(make_local_network: Any) -> None:
    network = make_local_network(1)
    store = SqliteStore(network.members[0].folder / "data" / STORE_FILE)
    store.save_signer(b"garbage that is no record")
    store.close()
    with pytest.raises(NodeError, match=r"record is damaged.*remove this node's data folder"):
        network.start()


def test_a_signer_record_of_another_key_is_refused(make_local_network: Any) -> None:
    network = make_local_network(2)
    key = network.members[0].folder / KEY_FILE
    own = key.read_text()
    key.write_text((network.members[1].folder / KEY_FILE).read_text())
    with pytest.raises(NodeError, match="give this node its own key, or an empty data folder"):
        network.start(0)
    key.write_text(own)
    network.start(0)


def test_ports_that_are_taken_are_named(make_local_network: Any) -> None:
    network = make_local_network(2)
    network.start(0)
    with pytest.raises(NodeError, match=r"rpc\.port taken"):
        network.start(1, rpc_port=network.members[0].rpc_port)
    with pytest.raises(NodeError, match=r"peers\.port taken"):
        network.start(1, peers_port=network.members[0].port)


def test_a_node_that_is_removed_is_sent_away_and_one_that_is_added_let_in(
    make_local_network: Any,
) -> None:
    network = make_local_network(4)
    network.start(0, 1, 2, 3)
    until(lambda: all_connected(network))
    client = network.client(0)
    admin = to_checksum(network.accounts[0])
    fourth = network.members[3].address

    def administrate(method: str, types: list[str], *values: Any) -> None:
        data = abi.selector(f"{method}({','.join(types)})") + abi.encode(types, values)
        request = {"from": admin, "to": to_checksum(NETWORK_CONTRACT), "data": "0x" + data.hex()}
        receipt = client.wait_for_receipt(client.call("eth_sendTransaction", request))
        assert receipt["status"] == "0x1"

    administrate("removeValidator", ["address"], fourth)
    administrate("setNode", ["address", "bool"], fourth, False)
    until(lambda: fourth not in network.nodes[0].network.peers)
    assert client.call("wattledger_networkInfo")["validators"] == sorted(
        (to_checksum(member.address) for member in network.members[:3]),
        key=lambda one: int(one, 16),
    )
    changes = client.call("wattledger_getValidatorChanges")
    assert len(changes) == 1
    proof = client.call("wattledger_getHeaderProof", changes[0])
    assert len(proof["validators"]) == 4
    assert len(proof["nextValidators"]) == 3
    until(lambda: "not on the network's list" in network.logs[3].getvalue())
    administrate("setNode", ["address", "bool"], fourth, True)
    until(lambda: fourth in network.nodes[0].network.peers)
    until(lambda: agree(network))
    client.close()


def test_who_asks_is_told_what_a_transaction_waits_for(make_local_network: Any) -> None:
    network = make_local_network(1)
    network.start()
    client = network.client()
    client.call("eth_sendRawTransaction", "0x" + transfer(network, 5).raw.hex())
    told = client.call("wattledger_status")["explanation"]
    assert "Waiting for the nonce before theirs: 1 transaction." in told
    client.close()


def test_an_unlocked_account_needs_the_setting(make_local_network: Any) -> None:
    network = make_local_network(1)
    network.keys = {}
    network.start()
    client = network.client()
    assert client.call("eth_accounts") == []
    with pytest.raises(RpcError, match="unknown account"):
        client.call("eth_sendTransaction", {"from": to_checksum(network.accounts[0])})
    client.close()


def test_who_may_not_deploy_is_told_before_and_after_sending(make_local_network: Any) -> None:
    network = make_local_network(1, anyone_deploys=False)
    network.start()
    client = network.client()
    request = {"from": to_checksum(network.accounts[2]), "data": "0xef574c0100000000"}
    with pytest.raises(RpcError, match="is not permitted to deploy contracts"):
        client.call("eth_estimateGas", request)
    with pytest.raises(RpcError, match="is not permitted to deploy contracts"):
        client.call("eth_sendTransaction", request | {"gas": hex(100_000)})
    client.close()


def test_the_store_holds_what_a_backup_would_copy(make_local_network: Any) -> None:
    """The chain's file is an ordinary SQLite database with the genesis in it."""
    network = make_local_network(1)
    network.start()
    network.stop()
    path = Path(network.members[0].folder / "data" / STORE_FILE)
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
