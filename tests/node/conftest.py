"""A network of nodes inside the test's process, on a thread with an event loop of its own; and the
chain that those who are far behind fetch."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ledger.chain import Chain
from ledger.store.sqlite import SqliteStore
from node.client import Client
from node.config import load_config
from node.daemon import listen, make_rpc
from node.devnet import MNEMONIC
from node.keys import derive_unlocked, load_node_key
from node.log import Log
from node.network_files import STORE_FILE, CreatedNetwork, create_network, load_network_file
from node.node import Node
from node.ports import free_ports
from node.rpc.server import RpcServer
from node.sync import follow
from tests.node.counter import PAYLOAD
from tests.node.far import make_source

T = TypeVar("T")


class LocalNetwork:
    """N nodes with real files, sockets and stores; calls into them run on their loop."""

    def __init__(self, folder: Path, nodes: int, **options: Any) -> None:
        self.folder = folder
        self.keys = derive_unlocked(MNEMONIC)
        self.accounts = list(self.keys)
        ports = free_ports(2 * nodes)
        self.made: CreatedNetwork = create_network(
            folder / "network",
            nodes=nodes,
            administrator=self.accounts[0],
            peer_ports=ports[:nodes],
            rpc_ports=ports[nodes:],
            **(
                {
                    "anyone_deploys": True,
                    "block_period_ms": 0,
                    "alloc": dict.fromkeys(self.accounts, 10**22),
                    "settings": {"rpc.unlocked_mnemonic": MNEMONIC},
                }
                | options
            ),
        )
        self.members = self.made.members
        self.nodes: dict[int, Node] = {}
        self.rpcs: dict[int, RpcServer] = {}
        self.logs = [StringIO() for _ in self.members]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="nodes")
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 120) -> T:
        """Run a coroutine on the nodes' loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def start(self, *indexes: int, **changes: Any) -> None:
        """Start these nodes, or all; `changes` replace fields of their Config."""
        for index in indexes or range(len(self.members)):
            self.run(self._start(index, changes))

    async def _start(self, index: int, changes: dict[str, Any]) -> None:
        member = self.members[index]
        config = replace(load_config(member.config_file), **changes)
        store = SqliteStore(config.data / STORE_FILE)
        try:
            node = Node(
                config,
                load_network_file(config.network),
                load_node_key(config.key_file, None),
                store,
                Log("debug", self.logs[index]),
                self.keys,
            )
        except BaseException:
            store.close()
            raise
        rpc = make_rpc(node)
        try:
            await node.start()
            await listen(rpc, config)
        except BaseException:
            await rpc.close()
            await node.stop()
            raise
        self.nodes[index], self.rpcs[index] = node, rpc

    def stop(self, *indexes: int) -> None:
        """Stop these nodes cleanly, or all that run."""
        for index in indexes or list(self.nodes):
            self.run(self.rpcs.pop(index).close())
            self.run(self.nodes.pop(index).stop())

    def url(self, index: int = 0) -> str:
        return f"http://127.0.0.1:{self.members[index].rpc_port}"

    def client(self, index: int = 0) -> Client:
        return Client(self.url(index))

    def heads(self) -> list[tuple[int, bytes]]:
        """(height, hash) of every running node."""
        heads = [node.chain.head for node in self.nodes.values()]
        return [(head.number, head.hash) for head in heads]

    def close(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        for stream in self.logs:
            assert "internal error" not in stream.getvalue(), stream.getvalue()


@pytest.fixture
def make_local_network(tmp_path: Path) -> Iterator[Any]:
    """A factory of networks that are stopped at the test's end."""
    made: list[LocalNetwork] = []

    def make(nodes: int, **options: Any) -> LocalNetwork:
        made.append(LocalNetwork(tmp_path / str(len(made)), nodes, **options))
        return made[-1]

    yield make
    for network in made:
        network.close()


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of one running validator, shared by a module's tests."""
    network = LocalNetwork(tmp_path_factory.mktemp("one"), 1)
    network.start()
    yield network
    network.close()


@pytest.fixture(scope="module")
def client(one_node: LocalNetwork) -> Iterator[Client]:
    made = one_node.client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def accounts(client: Client) -> list[str]:
    return list(client.call("eth_accounts"))


@pytest.fixture(scope="module")
def counter(client: Client, accounts: list[str]) -> str:
    """The address of a deployed Counter."""
    request = {"from": accounts[0], "data": "0x" + PAYLOAD.hex()}
    receipt = client.wait_for_receipt(client.call("eth_sendTransaction", request))
    assert receipt["status"] == "0x1", receipt
    return str(receipt["contractAddress"])


@pytest.fixture(scope="session")
def source() -> Chain:
    """Some hundred blocks that who is far behind fetches; only read."""
    return make_source()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that gave no answer is asked again at once."""
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
