"""Members change while the network runs: one more, one less, another key, rules, an override."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import history
from ledger.chain import Chain
from ledger.crypto.address import to_checksum
from ledger.errors import GenesisError, ProofError, UnknownRules
from ledger.permissions import find_rules_version, read_rules
from ledger.store.sqlite import SqliteStore
from node import watch
from node.billing.sources import follow_chain
from node.keys import load_node_key
from node.network_files import KEY_FILE, NETWORK_FILE, load_network_file
from tests.commands.terminal import succeed
from tests.node.local import Load, add_member, administrate, offer, pay, status_of, until

FAST = {"round_timeout_ms": 250}


def test_a_fifth_validator_joins_and_another_leaves_under_load(make_local_network: Any) -> None:
    network = make_local_network(4, **FAST)
    network.start()
    fifth = add_member(network, "node5")
    address = network.members[fifth].address
    with Load(network, index=2) as load:  # one that stays to the end
        until(lambda: load.sent > 3)
        administrate(network, "addValidator(address)", address)
        assert address not in network.nodes[0].chain.validators  # its disk is empty
        sent = load.sent
        until(lambda: load.sent > sent + 3)  # nobody waits for it
        told = status_of(network, 0)
        assert "Voted in, and not yet ready to validate" in told["explanation"]
        network.start(fifth)
        until(lambda: address in network.nodes[0].chain.validators)
        until(lambda: network.nodes[fifth].interpreter.trouble is None)
        proposer = network.members[0].address
        administrate(network, "removeValidator(address)", proposer, index=1)
        administrate(network, "setNode(address,bool)", proposer, False, index=1)
        until(lambda: proposer not in network.nodes[fifth].network.peers)
    members = {one.address for one in network.members[1:]}
    assert set(network.nodes[fifth].chain.validators) == members
    network.stop(1)  # of four that are left one may fail: so the fifth's vote counts
    pay(network, load.sent, index=fifth)


@pytest.fixture
def lost_two(make_local_network: Any) -> Any:
    """Four validators of which two are gone for ever."""
    network = make_local_network(4, **FAST)
    network.start()
    pay(network, 0)
    until(lambda: len(set(network.heads())) == 1)
    # Mostly 1. Where round 0 was over before the transaction had reached the next proposer, block 1
    # is an empty one.
    network.last = network.heads()[0][0]
    network.stop()
    return network


def write_override(network: Any, height: int) -> None:
    survivors = [to_checksum(one.address) for one in network.members[:2]]
    for member in network.members[:2]:
        succeed("network", "override", "--network", member.folder / NETWORK_FILE,
                "--height", height, "--validator", survivors[0],
                "--validator", survivors[1])  # fmt: skip


def test_an_override_frees_a_network_that_lost_its_quorum(lost_two: Any) -> None:
    network = lost_two
    folder = network.members[0].folder
    original = load_network_file(folder / NETWORK_FILE).genesis
    write_override(network, network.last + 1)
    network.start(0, 1)
    until(lambda: len(network.nodes[0].network.peers) == 1)
    pay(network, 1)
    administrate(network, "addValidator(address)", network.accounts[5])  # the contract goes on
    survivors = tuple(sorted(one.address for one in network.members[:2]))
    assert network.nodes[0].chain.validators == survivors
    client = network.client(0)
    told = follow_chain(client, load_network_file(folder / NETWORK_FILE).genesis)
    assert told.overrides == (network.last + 1,)
    assert told.validators == survivors
    with pytest.raises(ProofError):
        follow_chain(client, original)
    client.close()
    network.stop()
    network.start(0, 1)  # from what is on disk, the override's block among it
    pay(network, 2)


def test_an_override_of_a_block_that_is_there_is_refused(lost_two: Any) -> None:
    write_override(lost_two, 1)
    with pytest.raises(GenesisError, match="block 1 is here already"):
        lost_two.start(0)


def test_a_validator_gets_another_key(make_local_network: Any) -> None:
    network = make_local_network(4, **FAST)
    network.start()
    new = add_member(network, "node1b")
    old = network.members[0]
    succeed("network", "rotate", to_checksum(network.members[new].address),
            "--key-file", old.folder / KEY_FILE, "--rpc", network.url(1))  # fmt: skip
    network.start(new)
    until(lambda: network.members[new].address in network.nodes[1].chain.validators)
    validators = network.nodes[1].chain.validators
    assert old.address not in validators and len(validators) == 4
    until(lambda: old.address not in network.nodes[1].network.peers)
    network.stop(0)
    network.stop(2)
    pay(network, 0, index=new)


def test_a_node_halts_before_rules_it_does_not_know_and_says_so(make_local_network: Any) -> None:
    network = make_local_network(2, **FAST)
    network.start()
    client = network.client(0)
    height = client.height() + 14
    administrate(network, "scheduleRules(uint64,uint32)", height, 2)
    told = client.call("wattledger_status")
    assert f"From block {height} on, in " in told["explanation"]
    assert not told["well"]
    nonce = 0
    while client.height() < height - 1:  # an empty block among them would leave the last waiting
        sent = offer(network, nonce)
        until(
            lambda sent=sent: (  # type: ignore[misc]
                client.call("eth_getTransactionReceipt", sent) or client.height() == height - 1
            )
        )
        nonce += 1
    words = f"from block {height} on the network keeps rules version 2, this program knows up to 1"
    until(lambda: all(words in (n.interpreter.trouble or "") for n in network.nodes.values()))
    assert client.height() == height - 1
    assert words in client.call("wattledger_status")["explanation"]
    assert client.call("eth_getBalance", to_checksum(network.accounts[9]))  # reads go on
    network.stop()
    network.start()
    assert words in status_of(network, 1)["explanation"]
    client.close()


def test_validators_vote_with_their_nodes_keys(make_local_network: Any, tmp_path: Path) -> None:
    network = make_local_network(4, validators_vote=True, **FAST)
    network.start()
    rpc = ("--rpc", network.url(0))
    keys = [member.folder / KEY_FILE for member in network.members]
    account = to_checksum(network.accounts[7])
    made = succeed("network", "propose", "allow-node", account, "--key-file", keys[0], *rpc)
    assert made == ("proposal 0 has 1 of the 3 votes it needs; others vote with: "
                    "wattledger network vote 0\n")  # fmt: skip
    shown = succeed("network", "members", *rpc)
    assert f"proposal 0: allow-node {account}: 1 of 3 votes" in shown
    for index in (1, 2):
        done = json.loads(succeed("network", "vote", 0, "--key-file", keys[index], "--json", *rpc))
        assert done["done"] is (index == 2)
    found = json.loads(succeed("network", "members", "--json", *rpc))
    assert {"address": account, "roles": ["node"]} in found["members"]
    assert found["proposals"] == []
    assert load_node_key(keys[0], None)


def test_an_override_of_the_empty_chain_needs_no_block(make_local_network: Any) -> None:
    """A network of which most never came up at all."""
    network = make_local_network(4, **FAST)
    write_override(network, 1)
    network.start(0, 1)
    until(lambda: len(network.nodes[0].network.peers) == 1)
    pay(network, 0)
    network.stop()
    member = network.members[0]
    store = SqliteStore(member.folder / "data" / "chain.sqlite")
    chain = Chain(store, load_network_file(member.folder / NETWORK_FILE).genesis)
    assert len(chain.validators) == 2
    chain.close()


def test_the_log_says_a_stall_in_the_words_of_the_status_and_when_it_is_over(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_local_network(2, **FAST)
    network.start()
    until(lambda: len(network.nodes[0].network.peers) == 1 and status_of(network, 0)["well"])
    before = len(network.logs[0].getvalue())
    monkeypatch.setattr(watch, "LASTS_S", 0.5)
    network.stop(1)
    until(lambda: "No block can be made" in network.logs[0].getvalue()[before:])
    told = status_of(network, 0)
    (line,) = [one for one in network.logs[0].getvalue()[before:].splitlines() if "No block" in one]
    assert "2 of 2 validators are needed and 1 can be reached from here; missing are node2" in line
    assert line.split("(for")[0].split("network   ")[1] == told["explanation"].split("(for")[0]
    assert list(told["missingSince"]) == told["notConnected"]
    assert not told["well"]
    network.start(1)
    until(lambda: "All is well" in network.logs[0].getvalue()[before:])
    until(lambda: status_of(network, 0)["well"])


def test_who_is_not_upgraded_in_time_halts_and_the_others_go_on(
    make_local_network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "RULES_VERSION", 2)
    network = make_local_network(4, **FAST)
    network.start()
    until(lambda: all(len(node.network.peers) == 3 for node in network.nodes.values()))
    old = network.nodes[3]

    def know_the_first_alone(height: int) -> int:
        version = find_rules_version(read_rules(old.chain.state_at()), height)
        if version > 1:
            raise UnknownRules(height, version, 1)
        return version

    monkeypatch.setattr(old.chain, "rules_version", know_the_first_alone)
    height = 14
    administrate(network, "scheduleRules(uint64,uint32)", height, 2)
    for nonce in range(height + 3):
        pay(network, nonce)
    until(lambda: "from block 14 on" in (old.interpreter.trouble or ""))
    assert old.chain.head.number == height - 1
    assert network.nodes[0].chain.head.number > height
    network.stop(3)
    network.start(3)  # with the new version
    until(lambda: network.nodes[3].chain.head.number == network.nodes[0].chain.head.number)
    network.stop(0)
    pay(network, height + 3, index=3)


def test_a_lone_validator_gets_a_second_and_leaves_it_alone(make_local_network: Any) -> None:
    """With two, nobody else can tell what a key signed: its record must have followed the chain."""
    network = make_local_network(1, **FAST)
    network.start()
    for nonce in range(3):
        pay(network, nonce)
    second = add_member(network, "node2")
    address = network.members[second].address
    administrate(network, "addValidator(address)", address)
    network.start(second)
    until(lambda: address in network.nodes[0].chain.validators)
    for nonce in range(3, 6):
        pay(network, nonce)  # by both
    administrate(network, "removeValidator(address)", network.members[0].address)
    until(lambda: len(set(network.heads())) == 1)
    network.stop(0)
    pay(network, 6, index=second)
    assert network.nodes[second].chain.validators == (address,)
