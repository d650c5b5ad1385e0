"""The grid of the demo: four nodes, a Metering contract, and a meter for each household."""

import json
import secrets
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from ledger.contract.artifact import build_artifact
from ledger.crypto.address import address_of, to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data, encode_quantity
from ledger.transaction import sign_transaction
from node.client import Client, ClientError
from node.demo.households import NOMINAL_V, Household
from node.demo.processes import Processes
from node.demo.relay import Relay
from node.errors import NodeError
from node.network_files import CreatedNetwork, create_network
from node.ports import free_ports

NODES = 4
HOST = "127.0.0.1"
PERIOD_S = 3_600
TARIFF = (0, False, [100, 300, 500], [296, 556, 916, 1_061])  # the published slabs
READY_S = 60.0
HASHES_PER_S = 20_000  # of each miner, a few percent of a core
DIFFICULTY = 40_000  # of four such miners a block in half a second
CUT_OFF = 1  # the household whose meter is cut off from all nodes
KILLED = 2  # the node that loses its power


@dataclass
class Meter:
    """A household's meter: its own key, its process, and the account that is billed."""

    household: Household
    key: bytes
    account: bytes
    folder: Path

    @property
    def address(self) -> bytes:
        return address_of(self.key)

    @property
    def status_file(self) -> Path:
        return self.folder / "status.json"


@dataclass
class Grid:
    """Everything that runs; `close` stops it."""

    folder: Path
    processes: Processes
    network: CreatedNetwork
    operator: bytes
    relay: Relay
    relay_ports: list[int]
    contract: bytes = b""
    meters: list[Meter] = field(default_factory=list)
    _clients: dict[int, Client] = field(default_factory=dict)

    @property
    def is_mined(self) -> bool:
        return self.network.genesis.consensus == "pow"

    def url(self, index: int) -> str:
        return f"http://{HOST}:{self.network.members[index].rpc_port}"

    def client(self, index: int) -> Client:
        """The connection to a node, kept; for one thread only."""
        return self._clients.setdefault(index, Client(self.url(index)))

    def start_node(self, index: int) -> None:
        member = self.network.members[index]
        self.processes.start(
            member.name, "node", "node", "run", "--config", str(member.config_file)
        )

    def close(self) -> None:
        self.relay.close()
        for client in self._clients.values():
            client.close()
        self.processes.stop()


def make_grid(folder: Path, consensus: str = "qbft") -> Grid:
    """Write the files of a network in `folder`/network; nothing runs yet."""
    (folder / "logs").mkdir(parents=True)
    operator = secrets.token_bytes(32)
    ports = free_ports(3 * NODES)
    network = create_network(
        folder / "network",
        name="demo",
        nodes=NODES,
        administrator=address_of(operator),
        deployers=[address_of(operator)],
        block_period_ms=0,
        round_timeout_ms=400,  # on one machine; a dead proposer is passed over soon
        simulated=True,
        consensus=consensus,
        difficulty=DIFFICULTY,
        settings={"miner.hashes_per_s": HASHES_PER_S} if consensus == "pow" else None,
        rpc_port=ports[0],
        peer_port=ports[NODES],
    )
    relay_ports = ports[2 * NODES :]
    relay = Relay(
        {port: member.rpc_port for port, member in zip(relay_ports, network.members, strict=True)}
    )
    return Grid(folder, Processes(folder / "logs"), network, operator, relay, relay_ports)


def wait_until_connected(grid: Grid) -> None:
    """Until each node answers and is connected to every other."""
    deadline = time.monotonic() + READY_S
    for index in range(NODES):
        while True:
            grid.processes.check()
            try:
                peers = grid.client(index).call("admin_peers")
                if len(peers) >= NODES - 1:
                    break
            except ClientError:
                pass  # it is still starting; the deadline ends this
            if time.monotonic() > deadline:
                raise NodeError(f"node {index + 1} did not find its peers in {READY_S:.0f} s")
            time.sleep(0.1)


def deploy_metering(grid: Grid, households: list[Household]) -> None:
    """Deploy the contract, set the tariff, enrol a meter with a key of its own for each account."""
    source = resources.files("contracts_py").joinpath("metering.py").read_bytes()
    code = decode_data(build_artifact(source)["bytecode"])
    client = grid.client(0)
    created = send(grid, client, None, code + abi.encode(["uint32", "int32"], [PERIOD_S, 0]))
    grid.contract = decode_data(created)
    call(grid, client, "setTariff(uint24,bool,uint32[],uint32[])", *TARIFF)
    for index, household in enumerate(households, 1):
        folder = grid.folder / f"meter{index}"
        folder.mkdir()
        meter = Meter(household, secrets.token_bytes(32), secrets.token_bytes(20), folder)
        grid.meters.append(meter)
        call(grid, client, "enrol(address,address)", meter.address, meter.account)


def call(grid: Grid, client: Client, signature: str, *arguments: object) -> None:
    types = signature[signature.index("(") + 1 : -1].split(",")
    send(grid, client, grid.contract, abi.selector(signature) + abi.encode(types, arguments))


def send(grid: Grid, client: Client, to: bytes | None, data: bytes) -> str:
    """Sign as the operator, send, wait for its block; the new contract's address, if any."""
    sender = address_of(grid.operator)
    request = {"from": encode_data(sender), "data": encode_data(data)}
    if to is not None:
        request["to"] = encode_data(to)
    transaction = sign_transaction(
        grid.operator,
        chain_id=grid.network.genesis.chain_id,
        nonce=client.next_nonce(sender),
        to=to,
        data=data,
        gas=decode_quantity(client.call("eth_estimateGas", request)),
        gas_price=0,
    )
    sent = client.call("eth_sendRawTransaction", encode_data(transaction.raw))
    receipt = client.wait_for_receipt(sent)
    if decode_quantity(receipt["status"]) != 1:
        raise NodeError("setting up the contract failed: a transaction reverted")
    return str(receipt["contractAddress"] or "")


def start_meter(grid: Grid, index: int, lines_per_s: float) -> None:
    """A board on a pseudo-terminal, and the meter that reads it through the serial driver."""
    meter = grid.meters[index]
    household = meter.household
    name = meter.folder.name
    port = meter.folder / "serial"
    column = "--column" if household.column == "watts" else "--current-column"
    grid.processes.start(
        f"board{index + 1}",
        *("meter.feeder", "--csv", str(household.file), column, household.column),
        *("--rate", f"{lines_per_s:.2f}", "--link", str(port)),
    )
    deadline = time.monotonic() + READY_S
    while not port.is_symlink():
        grid.processes.check()
        if time.monotonic() > deadline:
            raise NodeError(f"the board of {household.name} made no serial port")
        time.sleep(0.02)
    config = meter.folder / "meter.toml"
    config.write_text(meter_config(grid, index, port))
    key = meter.folder / "meter.key"
    key.write_text(meter.key.hex() + "\n")
    key.chmod(0o600)
    grid.processes.start(name, "node", "meter", "run", "--config", str(config))


def meter_config(grid: Grid, index: int, port: Path) -> str:
    """The settings of one meter, as a person would write them."""
    household = grid.meters[index].household
    order = [(index + step) % NODES for step in range(NODES)]
    urls = (
        [f"http://127.0.0.1:{grid.relay_ports[i]}" for i in order]
        if index == CUT_OFF
        else [grid.url(i) for i in order]
    )
    measured = (
        ""
        if household.column == "watts"
        else f'current_column = "i1"\nnominal_voltage_v = {NOMINAL_V}\n'
    )
    return (
        f'network = "{grid.network.network_file}"\n'
        'state_dir = "outbox"\n'
        'status_file = "status.json"\n'
        "status_s = 1\n"
        "\n[clock]\n"
        f"start = {int(household.start.timestamp())}\n"
        f"tick_s = {household.interval_s}\n"
        "\n[[meter]]\n"
        f'name = "meter{index + 1}"\n'
        'source = "serial"\n'
        f'port = "{port}"\n'
        'board = "RPICT7V1"\n'
        f"{measured}"
        f"longest_gap_s = {2 * household.interval_s}\n"
        'key_file = "meter.key"\n'
        f'contract = "{to_checksum(grid.contract)}"\n'
        f"nodes = {json.dumps(urls)}\n"
        "poll_ms = 20\n"  # hours last a fraction of a second here
    )


def count_recorded(client: Client, grid: Grid) -> list[tuple[int, int]]:
    """(records, Wh) of each household's month, as a node has them."""
    signature = "usageOfMonth(address,uint32)"
    results = client.batch(
        [
            ("eth_call", ({"to": encode_data(grid.contract),
                           "data": encode_data(abi.selector(signature) + abi.encode(
                               ["address", "uint32"], [meter.account, month_number(meter)]))},
                          "latest"))
            for meter in grid.meters
        ]
    )  # fmt: skip
    decoded = [abi.decode(["uint128", "uint128", "uint32"], decode_data(one)) for one in results]
    return [(entries, import_wh) for import_wh, _, entries in decoded]


def count_transactions(client: Client, grid: Grid) -> int:
    """How many transactions the meters have on chain; a backlog shares some."""
    calls = [
        ("eth_getTransactionCount", (encode_data(meter.address), "latest")) for meter in grid.meters
    ]
    return sum(decode_quantity(one) for one in client.batch(calls))


def month_number(meter: Meter) -> int:
    start = meter.household.start
    return 12 * start.year + start.month - 1


def block_at(client: Client, height: int) -> str:
    """The hash of a block."""
    return str(client.call("eth_getBlockByNumber", encode_quantity(height), False)["hash"])
