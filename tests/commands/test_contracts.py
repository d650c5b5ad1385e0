"""From a source to an artifact, without a node: build, check, layout, and what they refuse."""

import json
from importlib import resources
from pathlib import Path

import pytest

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
        (b"x" * 25_000, "source-size"),
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
