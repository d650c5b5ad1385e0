"""Nodes of a mined network: what clients hear of a reorganisation, and real miners that agree."""

import asyncio
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ledger.block import Block
from ledger.branches import Branches
from ledger.chain import Chain
from ledger.consensus import events as ev
from ledger.consensus.pow_messages import encode_new_block
from ledger.errors import ProofError
from ledger.light import WorkClient
from ledger.store.sqlite import SqliteStore
from ledger.transaction import sign_transaction
from ledger.work import SETTLED_BLOCKS, compute_seal_hash, compute_target
from node import miner as miner_module
from node.billing.sources import Work, follow_chain
from node.block_files import export_blocks, import_blocks
from node.client import Client
from node.commands.verify import _explain_block
from node.miner import Miner as MinerProcess
from node.network_files import STORE_FILE
from tests.chain.chains import CHAIN_ID, deployment
from tests.chain.mined_chains import Miner
from tests.node.local import until

PROVIDER_GAS = 300_000


@pytest.fixture
def story(make_local_network: Any) -> Iterator[Any]:
    """A node that follows and does not mine, and two miners of its chain to tell it of blocks."""
    network = make_local_network(1, consensus="pow", difficulty=1)
    network.start(miner_enabled=False)
    story = Story(network)
    yield story
    story.client.close()


class Story:
    def __init__(self, network: Any) -> None:
        self.network = network
        self.node = network.nodes[0]
        self.client: Client = network.client()
        self.ours, self.theirs = (Miner(genesis=network.made.genesis) for _ in range(2))
        self.now_s = int(time.time())
        self.key = network.keys[network.accounts[0]]

    def tell(self, *blocks: Block) -> None:
        """As a peer floods them; they are on the chain, or beside it, when this returns."""
        for block in blocks:
            self.hear(encode_new_block(block))
        until(self.is_idle)

    def hear(self, message: bytes) -> None:
        async def feed() -> None:
            self.node.interpreter.feed(ev.Received(bytes(20), message))

        self.network.run(feed())

    def is_idle(self) -> bool:
        engine = self.node.engine
        return engine._placing is None and not engine._queue

    def mine(self, miner: Miner, *transactions: Any, coinbase: int = 0) -> Block:
        return miner.mine(*transactions, coinbase=coinbase, now_s=self.now_s)

    def sign(self, nonce: int, to: bytes | None, data: bytes, gas: int = PROVIDER_GAS) -> Any:
        return sign_transaction(
            self.key, chain_id=CHAIN_ID, nonce=nonce, to=to, data=data, gas=gas, gas_price=0
        )


def test_clients_hear_of_what_another_branch_withdraws(story: Story) -> None:
    from ledger.crypto.address import contract_address
    from ledger.encoding import abi

    deploy = story.sign(0, None, deployment(0, 0).data, 10_000_000)
    provider = contract_address(story.network.accounts[0], 0)
    signature = "addUser(address)"
    add_user = story.sign(1, provider, abi.encode_call(signature, [b"\7" * 20]))
    common = story.mine(story.ours, deploy)
    story.theirs.add(common, story.now_s)
    story.tell(common)
    client = story.client
    logs = client.call("eth_newFilter", {"address": "0x" + provider.hex()})
    heads = client.call("eth_newBlockFilter")
    ours = story.mine(story.ours, add_user)
    theirs = [story.mine(story.theirs, coinbase=1) for _ in range(2)]

    async def listen() -> tuple[list[Any], list[Any]]:
        """What subscriptions say from our block to the other branch."""
        url = story.network.url()
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            keys = []
            for number, kind in enumerate((["newHeads"], ["logs", {}])):
                await socket.send_json(
                    {"jsonrpc": "2.0", "id": number, "method": "eth_subscribe", "params": kind}
                )
                keys.append((await socket.receive_json())["result"])
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, story.tell, ours)
            first = await loop.run_in_executor(None, client.call, "eth_getFilterChanges", logs)
            assert [(one["removed"], one["blockNumber"]) for one in first] == [(False, "0x2")]
            await loop.run_in_executor(None, story.tell, *theirs)
            heard: dict[str, list[Any]] = {key: [] for key in keys}
            while len(heard[keys[0]]) < 3:
                said = (await socket.receive_json())["params"]
                heard[said["subscription"]].append(said["result"])
            return heard[keys[0]], heard[keys[1]]

    new_heads, told_logs = asyncio.run(listen())

    hashes = ["0x" + block.hash.hex() for block in (ours, *theirs)]
    assert [one["hash"] for one in new_heads] == hashes
    assert [(one["removed"], one["blockHash"]) for one in told_logs] == [
        (False, hashes[0]),
        (True, hashes[0]),
    ]
    (gone,) = client.call("eth_getFilterChanges", logs)
    assert gone["removed"] is True
    assert gone["blockHash"] == hashes[0]
    assert client.call("eth_getFilterChanges", heads) == hashes[1:]
    transaction_hash = "0x" + add_user.hash.hex()
    assert client.call("eth_getTransactionReceipt", transaction_hash) is None
    assert client.call("eth_getTransactionByHash", transaction_hash)["blockNumber"] is None
    assert client.call("eth_getBlockByHash", hashes[0], False) is None
    assert client.call("eth_getBlockByNumber", "0x2", False)["hash"] == hashes[1]
    assert client.call("txpool_status")["pending"] == "0x1"

    story.tell(story.mine(story.theirs, add_user))

    (back,) = client.call("eth_getFilterChanges", logs)
    assert (back["removed"], back["blockNumber"]) == (False, "0x4")
    receipt = client.call("eth_getTransactionReceipt", transaction_hash)
    assert (receipt["blockNumber"], receipt["status"]) == ("0x4", "0x1")
    assert client.call("txpool_status")["pending"] == "0x0"


def test_safe_is_settled_and_finalized_is_genesis(story: Story) -> None:
    story.tell(*(story.mine(story.ours) for _ in range(SETTLED_BLOCKS + 3)))
    client = story.client
    numbers = {
        tag: client.call("eth_getBlockByNumber", tag, False)["number"]
        for tag in ("latest", "safe", "finalized", "earliest")
    }
    assert numbers == {"latest": "0xf", "safe": "0x3", "finalized": "0x0", "earliest": "0x0"}
    status = client.call("wattledger_status")
    assert "nothing is final here" in status["explanation"]
    assert "up to block 3" in status["explanation"]
    assert client.call("eth_mining") is False


def test_what_is_proved_of_a_mined_chain_is_work(story: Story) -> None:
    story.tell(*(story.mine(story.ours) for _ in range(SETTLED_BLOCKS + 3)))
    genesis = story.network.made.genesis

    followed = follow_chain(story.client, genesis)

    assert followed.header == story.ours.chain.header(3)
    assert followed.work == Work(on_top=SETTLED_BLOCKS, difficulty=1)
    assert "to replace it" in _explain_block(followed)[1]


def test_a_header_without_its_work_or_place_is_refused() -> None:
    miner = Miner()
    first, second = miner.mine().header, miner.mine().header
    light = WorkClient(miner.chain.header(0))
    lies = {
        "does not follow": second,
        "mixHash": replace(first, mix_hash=bytes(32)),
        "earlier time": replace(first, timestamp=1),
        "another network": replace(first, extra_data=bytes(32)),
        "difficulty": replace(first, difficulty=1),
    }
    for words, header in lies.items():
        with pytest.raises(ProofError, match=words):
            light.follow(header)
    light.follow(first)
    light.follow(second)
    assert light.work == 4


def test_a_head_and_its_branches_are_there_after_a_restart(story: Story) -> None:
    story.tell(*(story.mine(story.ours) for _ in range(3)))
    rivals = [story.mine(story.theirs, coinbase=1) for _ in range(4)]
    story.tell(*rivals[:2])
    network = story.network
    network.stop(0)
    network.start(0, miner_enabled=False)
    story.node = network.nodes[0]
    assert network.heads()[0][1] == story.ours.chain.head.hash
    story.tell(*rivals[2:])
    assert network.heads()[0][1] == rivals[3].hash


def test_what_peers_send_that_is_no_block_is_rejected(story: Story) -> None:
    block = story.mine(story.ours)
    node = story.node
    rejected: list[str] = []
    node.interpreter._network.reject_peer = lambda peer, reason: rejected.append(reason)
    for message in (b"", b"\x93\x01\x01\x01", encode_new_block(block)[:-1], b"\x93\x02\x01\xc0"):
        story.hear(message)
    story.tell(block)
    assert len(rejected) == 4
    assert network_head(story) == block.hash


def network_head(story: Story) -> bytes:
    return bytes(story.network.heads()[0][1])


@pytest.mark.timeout(400)
def test_real_miners_agree_and_rest(make_local_network: Any) -> None:
    """Three nodes with their miners' processes; one miner is killed and comes back."""
    network = make_local_network(3, consensus="pow", difficulty=3_000)
    network.start()
    nodes = list(network.nodes.values())
    until(lambda: all(len(node.network.peers) == 2 for node in nodes))
    with closing(network.client(1)) as client:
        sender, receiver = client.call("eth_accounts")[:2]
        payment = {"from": sender, "to": receiver, "value": "0x1"}
        sent = client.call("eth_sendTransaction", payment)
        until(lambda: nodes[0].interpreter.mining._process is not None)
        process = nodes[0].interpreter.mining._process
        os.kill(process.pid, 9)

        def settled(sent: str) -> bool:
            receipt = client.call("eth_getTransactionReceipt", sent)
            head = int(client.call("eth_blockNumber"), 16)
            return receipt is not None and head - int(receipt["blockNumber"], 16) >= SETTLED_BLOCKS

        miners: set[bytes] = set()
        deadline = time.monotonic() + 200
        while len(miners) < 2:  # on a busy machine one may be far quicker than the others
            assert time.monotonic() < deadline, "one alone has mined all"
            until(lambda sent=sent: settled(sent), 120)  # type: ignore[misc]
            until(lambda: len(set(network.heads())) == 1 and not nodes[0].engine.status().open)
            chain = nodes[0].chain
            miners = {chain.header(height).coinbase for height in range(1, chain.head.number + 1)}
            assert miners <= {node.address for node in nodes}
            sent = client.call("eth_sendTransaction", payment)


class Clock:
    """A time that passes by hashing and by waiting alone, however busy this machine is."""

    HASH_S = 20e-6

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def select(self, ready: list[int], _: Any, __: Any, wait_s: float | None) -> Any:
        if wait_s is None or self.now > 3:
            return select.select(ready, [], [])
        self.now += wait_s
        return select.select(ready, [], [], 0)


@pytest.mark.parametrize(("told", "least", "most"), [(4_000, 3_900, 4_050), (0, 49_000, 50_000)])
def test_the_miner_keeps_to_its_rate(
    monkeypatch: pytest.MonkeyPatch, told: int, least: int, most: int
) -> None:
    """Of its own 50,000 hashes a second it does what it is told, and all where it is told 0."""
    clock, said = Clock(), list[str]()
    run = miner_module.Search.run

    def hash_slowly(search: Any, hashes: int) -> bytes | None:
        clock.now += hashes * clock.HASH_S
        return run(search, hashes)

    monkeypatch.setattr(miner_module.Search, "run", hash_slowly)
    monkeypatch.setattr(miner_module, "time", clock)
    monkeypatch.setattr(miner_module, "select", clock)
    monkeypatch.setattr(miner_module, "RATE_EVERY_S", 0.4)
    monkeypatch.setattr(miner_module, "_say", said.append)
    reader, writer = os.pipe()
    os.write(writer, f"mine {'11' * 32} {'00' * 32} {told}\n".encode())
    thread = threading.Thread(target=MinerProcess(reader).run)
    thread.start()
    until(lambda: clock.now > 3)
    os.close(writer)
    thread.join(60)
    assert not thread.is_alive()
    os.close(reader)
    rates = [int(line.split()[1]) for line in said]
    assert len(rates) > 4
    assert all(least <= rate <= most for rate in rates[1:]), rates


def test_what_the_miner_finds_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(miner_module, "_say", said.append)
    header = Miner().mine().header
    target = compute_target(500)
    reader, writer = os.pipe()
    thread = threading.Thread(target=MinerProcess(reader).run)
    thread.start()
    os.write(writer, f"mine {compute_seal_hash(header).hex()} {target.hex()} 0\n".encode())
    until(lambda: said)
    os.close(writer)
    thread.join(60)
    assert not thread.is_alive()
    os.close(reader)
    from ledger.work import seal

    assert seal(header, bytes.fromhex(said[0].split()[2])).mix_hash <= target


def test_mined_blocks_travel_in_a_file(make_local_network: Any, tmp_path: Path) -> None:
    """From one node to another that is on a shorter branch."""
    network = make_local_network(2, consensus="pow", difficulty=1)
    ours, theirs = (Miner(genesis=network.made.genesis) for _ in range(2))
    now_s = int(time.time())
    chains = [[ours.mine(now_s=now_s) for _ in range(3)], [theirs.mine(coinbase=1, now_s=now_s)]]
    for member, blocks in zip(network.members, chains, strict=True):
        store = SqliteStore(member.folder / "data" / STORE_FILE)
        branches = Branches(Chain(store, network.made.genesis))
        for block in blocks:
            branches.add(block, now_s)
        store.close()
    first, second = (member.config_file for member in network.members)

    assert export_blocks(first, tmp_path / "blocks") == 3
    assert import_blocks(second, tmp_path / "blocks") == (2, 3)
