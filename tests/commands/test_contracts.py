"""From a source to an artifact, without a node: build, check, layout, and what they refuse."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from ledger.contract.allowed import list_allowed
from ledger.contract.rules import RULES
from node.commands.contracts.sources import compile_artifact
from tests.commands.terminal import fail, misuse, succeed

JAR = """\
from ledger.contract import Contract, uint256, view, write


class Jar(Contract):
    coins: uint256

    @view
    def count(self) -> uint256:
        return self.coins

    @write
    def put(self, amount: uint256) -> None:
        self.coins += amount
"""
ROOT = Path(__file__).parents[2]
SOMEBODY = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    path = tmp_path / "jar.py"
    path.write_text(JAR)
    return path


def test_an_artifact_carries_the_source_and_its_abi(tmp_path: Path, jar: Path) -> None:
    out = tmp_path / "Jar.json"
    assert "Jar: " in succeed("contract", "build", jar, "-o", out)
    artifact = json.loads(out.read_text())
    assert set(artifact) == {"contractName", "abi", "bytecode"}
    size = len(JAR).to_bytes(4, "big").hex()
    assert artifact["bytecode"] == "0xef574c01" + size + JAR.encode().hex()
    assert {one["name"] for one in artifact["abi"] if one["type"] == "function"} == {"count", "put"}


@pytest.mark.parametrize("name", ["el_dapp", "metering", "network"])
def test_the_standard_contracts_go_by_their_names(tmp_path: Path, name: str) -> None:
    assert "keeps the rules" in succeed("contract", "check", name)
    succeed("contract", "build", name, "-o", tmp_path / "artifact.json")
    source = resources.files("contracts_py").joinpath(f"{name}.py").read_bytes()
    artifact = json.loads((tmp_path / "artifact.json").read_text())
    assert artifact["bytecode"].endswith(source.hex())


def test_a_layout_for_people_and_for_scripts(jar: Path) -> None:
    assert "coins" in succeed("contract", "layout", jar)
    described = json.loads(succeed("contract", "layout", jar, "--json"))
    (entry,) = described["storage"]
    assert (entry["label"], entry["slot"], entry["offset"]) == ("coins", "0", 0)
    assert described["types"][entry["type"]]["label"] == "uint256"


@pytest.mark.parametrize("command", ["check", "layout", "build"])
def test_a_broken_rule_is_file_rule_line_and_hint(tmp_path: Path, jar: Path, command: str) -> None:
    jar.write_text(JAR.replace("self.coins += amount", "self.coins += 1.5"))
    options = ("-o", tmp_path / "out.json") if command == "build" else ()
    error = fail("contract", command, jar, *options)
    assert error.startswith(f"{jar}: line 13, column 23: ")
    assert "1.5" in error
    assert error.count(": ") >= 4  # file, place, rule, text, hint
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        (b"def f(:", "syntax"),
        (b"import os\n", "form"),
        (b'x = "\x00"', "source-ascii"),
        (b"x" * 50_000, "source-size"),
        (b"(" * 2_000, "nesting"),
        (b"", "import"),
        (b"from ledger.contract import Contract\n", "module"),
        (b"\xff\xfe", "source-ascii"),
    ],
)
def test_whatever_is_in_a_file_ends_in_one_line(tmp_path: Path, source: bytes, rule: str) -> None:
    (tmp_path / "it.py").write_bytes(source)
    assert f": {rule}: " in fail("contract", "check", tmp_path / "it.py")


def test_what_is_not_there_is_named(tmp_path: Path, jar: Path) -> None:
    assert "no file 'nope'" in fail("contract", "check", "nope")
    assert "no file" in fail("contract", "check", tmp_path)
    nowhere = tmp_path / "no" / "folder.json"
    assert str(nowhere) in fail("contract", "build", jar, "-o", nowhere)


@pytest.mark.parametrize("content", ["{}", "[]", "[1]", '{"abi": 5}', "nonsense", '"text"'])
def test_an_artifact_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "it.json").write_text(content)
    error = fail("contract", "call", SOMEBODY, tmp_path / "it.json", "count")
    assert "artifact" in error or "no method 'count'" in error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nope",), "no method 'nope'; there are: addUser"),
        (("getBill",), "getBill takes (address user)"),
        (("getBill", "0x12"), "'0x12' is no address for user"),
        (("setUsage", "-1"), "setUsage: "),
        (("setUsage", "many"), "'many' is no uint256 for usage: expected a whole number"),
        (("setUsage", "1.5"), "expected a whole number"),
        (("setUsage", "1", "2"), "setUsage takes (uint256 usage)"),
    ],
)
def test_arguments_are_held_to_the_abi(arguments: tuple[str, ...], expected: str) -> None:
    rpc = ("--rpc", "http://127.0.0.1:1")
    assert expected in fail("contract", "call", SOMEBODY, "el_dapp", *rpc, "--", *arguments)


@pytest.mark.parametrize(
    "url",
    ["ftp://here", "nonsense", "http://", "http://127.0.0.1:99999", "http://[::1", "file:///"],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert "expected http://HOST:PORT" in misuse("account", "balance", SOMEBODY, "--rpc", url)


def test_no_node_there(jar: Path) -> None:
    rpc = ("--rpc", "http://127.0.0.1:1")
    for command in (
        ("account", "balance", SOMEBODY),
        ("contract", "deploy", jar, "--from", SOMEBODY),
        ("contract", "call", SOMEBODY, jar, "count"),
        ("node", "status"),
        ("bill", "--contract", SOMEBODY, "--account", SOMEBODY, "--month", "2026-11"),
    ):
        assert "no node answers at http://127.0.0.1:1" in fail(*command, *rpc)


def test_negative_numbers_are_arguments_and_no_options(jar: Path) -> None:
    rpc = ("--rpc", "http://127.0.0.1:1")
    zone = ("contract", "deploy", "metering", 3_600, -18_000, "--from", SOMEBODY, *rpc)
    assert "no node answers" in fail(*zone)
    put = ("contract", "send", SOMEBODY, jar, "put", "--from", SOMEBODY, *rpc)
    assert "put: " in fail(*put, -5)
    assert "No such option" in misuse(*put, "-five")
    assert "--value" in misuse(*put, 5, "--value", -5)


# ---- what an author needs before there is a node -------------------------------------------------


def wattledger(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, where it starts one itself."""
    return subprocess.run(
        [sys.executable, "-m", "node", "contract", *map(str, arguments)], cwd=folder,
        capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "120"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "module", "kind"),
    [("jar", "jar", "Jar"), ("SolarPark", "solar_park", "SolarPark"), ("p2p_x", "p2p_x", "P2pX")],
)
def test_what_new_makes_is_checked_tested_typed_and_tidy(
    tmp_path: Path, name: str, module: str, kind: str
) -> None:
    told = succeed("contract", "new", name, "--folder", tmp_path)
    assert f"the contract {kind}" in told and f"test_{module}.py" in told
    assert f"{kind} keeps the rules" in succeed("contract", "check", tmp_path / f"{module}.py")
    done = wattledger(tmp_path, "test")
    assert done.returncode == 0 and "... " in done.stdout, done
    for tool in (("ruff", "check", "--ignore=I"), ("ruff", "format", "--check")):
        tidy = subprocess.run(
            [sys.executable, "-m", *tool, "--isolated", "--line-length=100", tmp_path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert tidy.returncode == 0, tidy.stdout
    error = fail("contract", "new", name, "--folder", tmp_path)
    assert "is there already; nothing is written" in error


@pytest.mark.parametrize("name", ["", "1jar", "a-b", "../jar", "_", "x" * 65, "j\u00e4r.py"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    assert "is no name for a contract" in fail("contract", "new", "--folder", tmp_path, "--", name)
    assert list(tmp_path.iterdir()) == []


def test_gas_is_a_table_by_method_and_a_failing_test_is_told(tmp_path: Path) -> None:
    succeed("contract", "new", "jar", "--folder", tmp_path)
    done = wattledger(tmp_path, "gas", "jar.py", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"(deploy)", "add", "added_by", "start_anew", "total"}
    assert rows["add"]["calls"] == 4 and rows["add"]["least"] > rows["total"]["most"] > 0
    assert "start_anew" in wattledger(tmp_path, "gas").stdout

    test = tmp_path / "test_jar.py"
    test.write_text(test.read_text().replace("== 7", "== 8"))
    done = wattledger(tmp_path, "test")
    assert done.returncode == 1 and "assert 7 == 8" in done.stdout
    done = wattledger(tmp_path, "gas", "jar.py")
    assert done.returncode == 1 and "error: the tests in test_jar.py did not pass" in done.stderr
    test.unlink()
    assert "it is what would be run for jar.py" in wattledger(tmp_path, "gas", "jar.py").stderr


def test_without_pytest_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install pytest hypothesis" in fail("contract", "test")


def test_docs_have_what_a_caller_needs(tmp_path: Path) -> None:
    text = succeed("contract", "docs", "metering")
    assert text.startswith("# Metering\n") and "## Constructor" in text
    assert "### `record(uint32 period, uint64 importWh, uint64 exportWh, uint8 quality)`" in text
    for entry in compile_artifact("metering")["abi"]:
        if entry["type"] != "constructor":
            assert f"`{entry['name']}(" in text, entry["name"]
    assert "| slot | offset | field | type |" in text
    out = tmp_path / "metering.md"
    assert str(out) in succeed("contract", "docs", "metering", "-o", out)
    assert out.read_text() == text


def test_rules_are_all_there() -> None:
    text = succeed("contract", "rules")
    for rule in RULES.values():
        assert f"| `{rule.name}` | {rule.what} | {rule.hint} |" in text
    for one in list_allowed():
        if not re.fullmatch(r"(u?int|bytes)\d+", one.name):
            assert f"`{one.name}`" in text, one
    assert "`uint8` to `uint256`" in text
