"""Networks of real processes to measure: ours of n nodes, or anvil where it can be had."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workload import make_keys
from ledger.crypto.address import address_of
from ledger.encoding.hexadecimal import decode_data
from node.client import Client, ClientError
from node.demo.processes import Processes
from node.network_files import create_network
from node.ports import free_ports

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".bench"
SOLC = ROOT / ".tools" / "node"
READY_S = 60.0
ANVIL = "@foundry-rs/anvil@1.7.1"
OWNER = make_keys(1, "owner")[0]
MNEMONIC = "test test test test test test test test test test test junk"


@dataclass
class Cluster:
    """`pids` are the processes that do the work; `folder` holds their data, if they keep any."""

    urls: list[str]
    pids: list[int]
    folder: Path


@contextmanager
def run_cluster(
    nodes: int,
    *,
    block_period_ms: int = 0,
    consensus: str = "qbft",
    difficulty: int = 1,
    settings: Mapping[str, str | int | bool | tuple[str, ...]] | None = None,
) -> Iterator[Cluster]:
    """Our own network; OWNER may deploy. `difficulty` is for consensus "pow"."""
    folder = Path(tempfile.mkdtemp(prefix="wattledger-bench-"))
    ports = free_ports(2 * nodes)
    network = create_network(
        folder / "network", nodes=nodes, administrator=address_of(OWNER),
        deployers=[address_of(OWNER)], block_period_ms=block_period_ms,
        rpc_port=ports[0], peer_port=ports[nodes], consensus=consensus, difficulty=difficulty,
        settings=settings,
    )  # fmt: skip
    processes = Processes(folder)
    try:
        for member in network.members:
            processes.start(member.name, "node", "node", "run", "--config", str(member.config_file))
        urls = [f"http://127.0.0.1:{member.rpc_port}" for member in network.members]
        for url in urls:
            _await(url, processes, nodes - 1)
        yield Cluster(urls, [processes.pid(member.name) for member in network.members], folder)
    finally:
        processes.stop()
        shutil.rmtree(folder)


def _await(url: str, processes: Processes | None, peers: int) -> None:
    client = Client(url)
    deadline = time.monotonic() + READY_S
    while True:
        if processes is not None:
            processes.check()
        try:
            if not peers or len(client.call("admin_peers")) >= peers:
                client.call("eth_chainId")
                client.close()
                return
        except ClientError:
            pass  # it is starting
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} is not ready after {READY_S} s")
        time.sleep(0.1)


class Unavailable(Exception):
    """The peer to compare with cannot be had here; the text says why."""


def install_anvil() -> Path:
    """anvil in an ignored folder of this checkout. Raises Unavailable."""
    command = TOOLS / "node_modules" / ".bin" / "anvil"
    if not command.exists():
        if shutil.which("npm") is None:
            raise Unavailable("npm is not here")
        done = subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock",
             "--prefix", str(TOOLS), ANVIL],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode or not command.exists():
            raise Unavailable(f"npm could not install {ANVIL}: {done.stderr[-300:]}")
    binaries = sorted((TOOLS / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    return binaries[0] if binaries else command


@contextmanager
def run_anvil() -> Iterator[Cluster]:
    """anvil with a block a second and no gas limit that caps it; accounts need no funds."""
    command = install_anvil()
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [str(command), "--silent", "--port", str(port), "--chain-id", "1947", "--block-time", "1",
         "--gas-limit", "1000000000000", "--base-fee", "0", "--gas-price", "0"],
        stdout=subprocess.DEVNULL, stderr=sys.stderr,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _await(url, None, 0)
        yield Cluster([url], [process.pid], TOOLS)
    finally:
        process.terminate()
        process.wait(10)


def compile_twin() -> bytes:
    """The bytecode of Provider.sol by the npm package solc. Raises Unavailable."""
    if shutil.which("node") is None or not (SOLC / "node_modules" / "solc").is_dir():
        raise Unavailable("solc is not here; `make test` or `make bench` installs it with Node.js")
    script = """
    const solc = require(process.argv[1] + '/node_modules/solc');
    const source = require('fs').readFileSync(process.argv[2], 'utf8');
    const input = {language: 'Solidity', sources: {'P.sol': {content: source}},
      settings: {optimizer: {enabled: true, runs: 200}, evmVersion: 'cancun',
      outputSelection: {'*': {'*': ['evm.bytecode.object']}}}};
    const output = JSON.parse(solc.compile(JSON.stringify(input)));
    console.log(JSON.stringify(output));
    """
    done = subprocess.run(
        ["node", "-e", script, str(SOLC), str(ROOT / "benchmarks" / "Provider.sol")],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    output = json.loads(done.stdout)
    if "contracts" not in output:
        raise RuntimeError(f"solc: {output.get('errors')}")
    return decode_data("0x" + output["contracts"]["P.sol"]["Provider"]["evm"]["bytecode"]["object"])
