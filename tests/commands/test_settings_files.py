"""Files of a network, a node and a meter: made by commands, refused with file, key and what for."""

import json
import shutil
import socket
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from node.errors import NodeError
from node.network_files import CONSTRUCTOR, load_network_file
from node.ports import free_ports
from node.service import check_folder
from tests.commands.terminal import fail, misuse, run, succeed

SOMEBODY = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
METER = """
[[meter]]
name = "home"
source = "stdin"
board = "RPICT3V1"
key_file = "meter.key"
contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
nodes = ["http://127.0.0.1:1"]
chain_id = 1947
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a network of two, as the command makes them."""
    out = tmp_path_factory.mktemp("network") / "grid"
    text = succeed(
        *("network", "new", "--out", out, "--name", "street", "--nodes", 2, "--chain-id", 77),
        *("--host", "10.0.0.1", "--host", "10.0.0.2", "--deployer", SOMEBODY),
    )
    assert "http://10.0.0.1:8545" in text
    return out


def test_a_new_network_is_complete(grid: Path) -> None:
    assert sorted(path.name for path in grid.iterdir()) == [
        "administrator.key", "network.json", "node1", "node2",
    ]  # fmt: skip
    network = load_network_file(grid / "network.json")
    assert (network.genesis.name, network.genesis.chain_id) == ("street", 77)
    assert [peer.host for peer in network.peers] == ["10.0.0.1", "10.0.0.2"]
    for name in ("node1", "node2"):
        folder = grid / name
        assert (folder / "network.json").read_text() == (grid / "network.json").read_text()
        assert (folder / "node.key").stat().st_mode & 0o077 == 0
        assert tomllib.loads((folder / "node.toml").read_text())["rpc"]["host"] == "0.0.0.0"
    assert (grid / "administrator.key").stat().st_mode & 0o077 == 0


def test_a_network_is_never_overwritten(grid: Path) -> None:
    before = (grid / "network.json").read_text()
    assert "is not empty" in fail("network", "new", "--out", grid)
    assert (grid / "network.json").read_text() == before


def test_what_no_network_can_be(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "grid")
    assert "2 hosts for 3" in fail("network", "new", *out, "--nodes", 3, "--host", 1, "--host", 2)
    assert "0<=" not in misuse("network", "new", *out, "--nodes", 0)
    assert "name" in fail("network", "new", *out, "--name", "")
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file" / "grid") in fail("network", "new", "--out",
                                                   tmp_path / "file" / "grid")  # fmt: skip


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        ("name = 3", "name", "expected a text, got 3"),
        ("threads = 0", "threads", "expected 1 to 64, got 0"),
        ("thread = 2", "thread", "did you mean threads?"),
        ("[rpc]\nport = true", "rpc.port", "expected an integer, got True"),
        ("[log]\nlevel = 'loud'", "log.level", "expected one of"),
        ("name = ", "TOML", "Invalid value"),
    ],
)
def test_a_bad_node_toml_names_file_key_and_what_was_expected(
    tmp_path: Path, line: str, key: str, expected: str
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(line)
    error = fail("node", "run", "--config", config)
    assert str(tmp_path) in error
    assert key in error
    assert expected in error


def test_a_node_without_its_network_file_says_which(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('network = "nowhere.json"')
    done = run("node", "run", "--config", tmp_path / "node.toml")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert f"{tmp_path}/nowhere.json: the network file cannot be read" in line


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        (('name = "home"', "name = 5"), "name", "expected"),
        (('source = "stdin"', 'source = "magic"'), "source", "serial"),
        (('source = "stdin"', ""), "source", "expected"),
        (('board = "RPICT3V1"', 'board = "RPICT9"'), "board", "RPICT3V1"),
        (("chain_id = 1947", 'chain_id = "1947"'), "chain_id", "integer"),
        (("chain_id = 1947", "chain = 1947"), "chain", ""),
        (('key_file = "meter.key"', ""), "key_file", "expected"),
        (("[[meter]]", "[meter]"), "meter", "[[meter]]"),
        (("[[meter]]", "[[meter"), "file", "TOML"),
    ],
)
def test_a_bad_meter_toml_names_file_key_and_what_was_expected(
    tmp_path: Path, change: tuple[str, str], key: str, expected: str
) -> None:
    config = tmp_path / "meter.toml"
    config.write_text(METER.replace(*change))
    error = fail("meter", "run", "--config", config)
    assert error.startswith(str(config))
    assert key in error
    assert expected in error


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for kind in ("node", "meter"):
        for command in ("run", "install"):
            path = tmp_path / "missing.toml"
            assert str(path) in misuse(kind, command, "--config", path)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is taken" in fail("devnet", "--nodes", 1, "--port", port, "--data",
                                               tmp_path / "devnet")  # fmt: skip
        succeed("network", "new", "--out", tmp_path / "grid", "--nodes", 1, "--rpc-port", port,
                "--peer-port", free_ports(1)[0])  # fmt: skip
        config = tmp_path / "grid" / "node1" / "node.toml"
        done = subprocess.run(
            [sys.executable, "-m", "node", "node", "run", "--config", str(config)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode != 0
    assert str(port) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_data_folder_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    port = free_ports(2)[0]
    for name in ("one", "two"):
        succeed("network", "new", "--out", tmp_path / name, "--name", name, "--nodes", 1,
                "--rpc-port", port, "--peer-port", port + 1)  # fmt: skip
    started = ("node", "run", "--config", tmp_path / "one" / "node1" / "node.toml")
    command = [sys.executable, "-m", "node", *map(str, started)]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stderr is not None
        for line in first.stderr:
            if str(port) in line:
                break
    finally:
        first.terminate()
        first.communicate(timeout=30)
    network = tmp_path / "one" / "node1" / "network.json"
    network.write_text((tmp_path / "two" / "network.json").read_text())
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "this data folder belongs to network 0x" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["node", "meter"])
def test_a_unit_is_printed_and_not_written(tmp_path: Path, kind: str) -> None:
    config = tmp_path / f"{kind}.toml"
    config.write_text("")
    unit = succeed(kind, "install", "--config", config, "--print")
    assert f"{kind} run --config {config}" in unit
    assert "User=wattledger" in unit
    assert ("dialout" in unit) == (kind == "meter")
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize("kind", ["node", "meter"])
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong_with_a_unit(tmp_path: Path, kind: str) -> None:
    config, unit = tmp_path / f"{kind}.toml", tmp_path / f"wattledger-{kind}.service"
    config.write_text("")
    unit.write_text(succeed(kind, "install", "--config", config, "--print"))
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", ["/", "/etc", "/home/pi", "/root/grid", "/var/lib"])
def test_a_service_never_takes_over_a_folder_of_others(folder: str) -> None:
    with pytest.raises(NodeError, match="in a folder of their own"):
        check_folder(Path(folder), "node")


def test_a_service_has_a_place() -> None:
    taken = []
    for folder in ("/var/lib/wattledger/node", "/etc/wattledger", "/etc", "/srv/grid", "/srv"):
        with suppress(NodeError):
            check_folder(Path(folder), "node")
            taken.append(folder)
    assert taken == ["/var/lib/wattledger/node", "/etc/wattledger", "/srv/grid"]


def test_a_path_that_a_unit_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "node %i.toml"
    config.write_text("")
    assert "a unit needs a path of" in fail("node", "install", "--config", config, "--print")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "chain_id: missing"),
        ('{"name": "x", "chain_id": "1"}', "network file"),
    ],
)
def test_a_bad_network_file_is_named(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "network.json"
    path.write_text(content)
    error = fail("verify", "bill", "--network", path, "--contract", SOMEBODY,
                 "--account", SOMEBODY, "--month", "2026-11")  # fmt: skip
    assert error.startswith(f"{path}: ")
    assert expected in error


@pytest.mark.parametrize("month", ["2026-13", "2026", "November", "2026-1", "", "0000-01"])
def test_a_month_that_is_none_is_refused_before_anything_is_asked(month: str) -> None:
    for command in ("usage", "bill"):
        text = misuse(command, "--contract", SOMEBODY, "--account", SOMEBODY, "--month", month)
        assert "expected YYYY-MM" in text


def test_the_demo_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("only one line\n")
    assert "own.csv: expected a header" in fail("demo", "--data", tmp_path / "own.csv")
    assert "is not empty" in fail("demo", "--keep", tmp_path)


def test_the_settings_of_a_new_network_parse(grid: Path) -> None:
    network = json.loads((grid / "network.json").read_text())
    assert [peer["address"] for peer in network["peers"]] == [
        to_checksum(peer.address) for peer in load_network_file(grid / "network.json").peers
    ]
    assert run("--help").code == 0


def test_a_network_names_its_voters(tmp_path: Path) -> None:
    one, two = "0x" + "11" * 20, "0x" + "22" * 20
    said = succeed("network", "new", "--out", tmp_path / "grid", "--nodes", 1, "--administrator",
                   one, "--administrator", two, "--votes", 2, "--account", two)  # fmt: skip
    assert "administrator.key" not in said
    genesis = load_network_file(tmp_path / "grid" / "network.json").genesis
    read = abi.decode(CONSTRUCTOR, genesis.contracts[0].arguments)
    assert read[3] == [bytes.fromhex("22" * 20)]
    assert read[4] == [bytes.fromhex("11" * 20), bytes.fromhex("22" * 20)]
    assert read[5:] == (False, True, False, 2, 30 * 86_400)
    succeed("network", "new", "--out", tmp_path / "own", "--nodes", 1, "--validators-vote")
    assert not (tmp_path / "own" / "administrator.key").exists()
