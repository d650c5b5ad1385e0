"""The process of a node: settings, files, signals, exit code.

`run_node` is what `wattledger node run` and systemd start. A clean stop (SIGTERM, SIGINT) notes on
disk that nothing was signed beyond what is there; kill -9 at any moment is survived without it.
What went wrong is one line that says what to do. Not here: what a node does (`node.node`).
"""

import asyncio
import functools
import gc
import os
import signal
import ssl
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.contract.signals import NodeFault
from ledger.crypto.address import to_checksum
from ledger.errors import LedgerError
from ledger.store.sqlite import SqliteStore
from node.config import Config, load_config
from node.errors import NodeError
from node.isolation.contract_process import ContractProcess, open_contracts
from node.keys import derive_unlocked, load_node_key
from node.log import Log
from node.network_files import STORE_FILE, load_network_file
from node.node import Node
from node.peers.identity import CERTIFICATE_FILE, load_or_make_certificate, make_server_tls
from node.rpc.context import Context
from node.rpc.dispatch import Dispatcher
from node.rpc.server import Page, RpcServer
from node.rpc.table import METHODS

if TYPE_CHECKING:
    from node.metrics import Metrics

EXIT_OK = 0
EXIT_FAILED = 1
GC_THRESHOLD = 50_000
"""New objects between two collections, some 5 MB; Python's 700 would look at every transaction
several times while a block is built."""
GC_OLDER = 5
"""Collections until what outlived one is looked at again, once: what is garbage in it by then is
some 25 MB at worst."""
WITH_PARENT = "--with-parent"
"""After the settings file: stop when standard input ends, which it does when the parent is gone."""


def run_node(config_path: Path, *, with_parent: bool = False) -> int:
    """Run a node until SIGTERM or SIGINT; the process's exit code.

    `with_parent` also stops it when its standard input ends.
    """
    try:
        check_flags(sys.flags.optimize, sys.flags.bytes_warning, sys.warnoptions)
        config = load_config(config_path)
    except NodeError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    log = Log(config.log_level, as_json=config.log_format == "json")
    try:
        _run(serve(config, log, with_parent=with_parent))
    except (NodeError, LedgerError) as error:
        log.error("node", str(error))
        return EXIT_FAILED
    return EXIT_OK


def check_flags(optimize: int, bytes_warning: int, warnings: Sequence[str]) -> None:
    """Refuse flags of Python under which a node would check less, or fail where others go on."""
    odd = ["-O"] if optimize else []
    odd += ["-bb"] if bytes_warning > 1 else []
    odd += [f"-W {each}" for each in warnings if each.startswith("error")]
    if odd:
        given = " ".join(odd)
        raise NodeError(f"Python was started with {given}: start it without, PYTHON* unset as well")


async def serve(config: Config, log: Log, *, with_parent: bool = False) -> None:
    """Run a node until a signal. Raises NodeError, LedgerError."""
    stopping = _stop_on_signals()
    if with_parent:
        _stop_with_stdin(stopping)
    gc.set_threshold(GC_THRESHOLD, GC_OLDER, 50)
    node = open_node(config, log)
    rpc = make_rpc(node)
    try:
        await node.start()
        await listen(rpc, config)
        gc.freeze()  # what is loaded now stays: no collection needs to look at it again
        log.info(
            "node",
            "ready",
            name=config.name,
            address=to_checksum(node.address),
            network=node.chain.genesis.name,
            chain_id=node.chain.genesis.chain_id,
            head=node.chain.head.number,
            rpc=f"{config.rpc_host}:{config.rpc_port}",
        )
        await stopping.wait()
        log.info("node", "stopping")
    finally:
        await rpc.close()
        await node.stop()
        if isinstance(node.chain.runner, ContractProcess):
            node.chain.runner.stop()
    log.info("node", "stopped", head=node.chain.head.number)


def open_node(config: Config, log: Log) -> Node:
    """A node from its files. Raises NodeError or LedgerError saying which one is wrong."""
    network_file = load_network_file(config.network)
    private_key = load_node_key(config.key_file, config.key_password_file)
    unlocked = {}
    if config.rpc_unlocked_mnemonic:
        unlocked = derive_unlocked(config.rpc_unlocked_mnemonic)
        log.warn("rpc", "accounts are unlocked: anybody who reaches this port may spend from them")
    _make_certificate_aside(_make_data_folder(config))
    contracts = open_contracts(config.contracts_isolation, config.contracts_memory_mb)
    store = SqliteStore(config.data / STORE_FILE)
    try:
        node = Node(config, network_file, private_key, store, log, unlocked, contracts)
    except BaseException as error:
        store.close()
        if contracts is not None:
            contracts.stop()
        if isinstance(error, NodeFault):
            raise NodeError(str(error)) from error
        raise
    if contracts is not None:
        contracts.on_death = functools.partial(_halt_soon, node)
    return node


def _make_data_folder(config: Config) -> Path:
    """The data folder, made where it is not there yet. Raises NodeError."""
    try:
        config.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NodeError(f"{config.data}: the data folder cannot be made: {error}") from error
    return config.data


def _make_certificate_aside(folder: Path) -> None:
    """A first start's TLS certificate, in a process that ends: what makes it takes 10 MB, which
    this one would hold for as long as it runs. What fails there is tried again, and told, here."""
    if not (folder / CERTIFICATE_FILE).exists():
        child = os.fork()
        if child == 0:
            try:
                load_or_make_certificate(folder)
            finally:
                os._exit(EXIT_OK)
        os.waitpid(child, 0)


def _halt_soon(node: Node, fault: NodeFault) -> None:
    """The engine may be amid a step that needs the contract: it is told when that is over."""
    asyncio.get_running_loop().call_soon(node.interpreter.note_fault, fault)


def make_rpc(node: Node) -> RpcServer:
    """The JSON-RPC server of a node, not yet listening."""
    return RpcServer(
        Dispatcher(METHODS, node.log),
        lambda session: Context(node, session),
        node.log,
        origins=node.config.rpc_origins,
        connections_max=node.config.rpc_connections_max,
        pages={"/metrics": _metrics_page(node)} if node.config.rpc_metrics else {},
    )


def _metrics_page(node: Node) -> Page:
    """GET /metrics; the client library is imported when somebody asks for the first time."""
    made: list[Metrics] = []

    def render() -> tuple[str, bytes]:
        from node.metrics import CONTENT_TYPE, Metrics

        if not made:
            made.append(Metrics(node))
        return CONTENT_TYPE, made[0].render()

    return render


async def listen(rpc: RpcServer, config: Config) -> None:
    """Open the JSON-RPC port, and the one in TLS if there is one. Raises NodeError."""
    await rpc.listen(config.rpc_host, config.rpc_port)
    if config.rpc_tls_port:
        await rpc.listen(config.rpc_host, config.rpc_tls_port, _rpc_tls(config))


def _rpc_tls(config: Config) -> ssl.SSLContext:
    if config.rpc_tls_certificate is not None:
        return make_server_tls(config.rpc_tls_certificate, config.rpc_tls_key)
    certificate, _ = load_or_make_certificate(config.data)
    return make_server_tls(certificate)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _stop_with_stdin(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4_096):
            loop.remove_reader(0)
            stopping.set()

    loop.add_reader(0, read)


def _run(main: Coroutine[None, None, None]) -> None:
    """On uvloop where it is installed: half of a socket's cost is the standard loop's."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        asyncio.run(main)
    else:
        uvloop.run(main)


if __name__ == "__main__":
    sys.exit(run_node(Path(sys.argv[1]), with_parent=WITH_PARENT in sys.argv[2:]))
