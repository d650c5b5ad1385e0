"""What the README shows is run here, or compared with what it is taken from."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import meter.config
from node.main import cli
from tests.devnets import run_devnet
from tests.docs.pages import DOCS, README, ROOT, block_with, shell_commands, table_rows

PURE = """
import os, sys

def refuse(event, arguments):
    if event.startswith("socket.") or event == "subprocess.Popen":
        raise RuntimeError(f"the library made a {event}")
    if event == "open" and isinstance(arguments[2], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise RuntimeError(f"the library wrote {arguments[0]}")

sys.addaudithook(refuse)
exec(compile(sys.stdin.read(), "README", "exec"))
"""


def test_the_library_script_needs_no_socket_and_no_file(tmp_path: Path) -> None:
    script = block_with(README, "python", "MemoryStore")
    assert len(script.splitlines()) <= 20
    done = subprocess.run(
        [sys.executable, "-B", "-c", PURE], input=script, cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1250\n", "")
    assert list(tmp_path.iterdir()) == []
    assert "It prints 1250" in README.read_text()


@pytest.mark.parametrize(
    ("language", "text", "source"),
    [
        ("python", "def set_debt", "contracts_py/el_dapp.py"),
        ("solidity", "function setDebt", "benchmarks/Provider.sol"),
        ("python", "from web3 import Web3", "examples/listing4.py"),
    ],
)
def test_what_is_quoted_stands_in_its_file(language: str, text: str, source: str) -> None:
    assert block_with(README, language, text) in (ROOT / source).read_text()


def test_listing_4_has_fifteen_lines() -> None:
    listing = block_with(README, "python", "from web3 import Web3")
    assert len([line for line in listing.splitlines() if line]) == 15


@pytest.mark.timeout(180)
def test_listing_4_on_a_devnet_as_the_readme_tells_it(tmp_path: Path) -> None:
    with run_devnet(tmp_path / "devnet") as devnet:
        port = devnet.url.rsplit(":", 1)[1]
        told = block_with(README, "sh", "OWNER=").replace(":8545", f":{port}")
        script = told.removeprefix(". .venv/bin/activate\n")
        script = script.replace("examples/", f"{ROOT}/examples/")
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True,
            check=False,
            env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path),
                 "WATTLEDGER_RPC": devnet.url},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"final in block \d+", lines[-2])
    assert lines[-1] == "370"  # 1,250 Wh at 2.96


def test_the_settings_of_a_meter_are_settings(tmp_path: Path) -> None:
    text = block_with(README, "toml", "[[meter]]")
    assert tomllib.loads(text)["meter"]
    (tmp_path / "meter.toml").write_text(text)
    (tmp_path / "network.json").write_text(json.dumps({"chain_id": 1947}))
    config = meter.config.load_config(tmp_path / "meter.toml")
    assert config.meters[0].measure.power_column == "p1"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["test"] + extras["bench"]
    named = [re.match(r"[A-Za-z0-9-]+", one).group() for one in wanted]  # type: ignore[union-attr]
    rows = table_rows(README, "package")
    assert [row[0].strip("`") for row in rows] == named
    assert all(len(row[1]) > 5 for row in rows)


def test_the_reading_order_leads_through_all_of_the_ledger() -> None:
    section = README.read_text().partition("## Reading the source")[2].partition("## More")[0]
    first, _, others = section.partition("The second book")
    named = re.findall(r"`([a-z_]+(?:\.py|/))`", first.partition("1. ")[2])
    there = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "ledger").iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }
    assert sorted([*named, "contract/", "consensus/"]) == sorted(there)
    for name in re.findall(r"`([a-z_]+\.py)`", others):
        rooms = ("ledger/contract", "ledger/consensus", "node")
        assert any((ROOT / room / name).exists() for room in rooms), name


def test_the_table_of_results_has_its_place() -> None:
    text = README.read_text()
    assert text.count("<!-- bench -->") == text.count("<!-- /bench -->") == 1
    begin, end = text.index("<!-- bench -->"), text.index("<!-- /bench -->")
    assert "| what | measured | budget |" in text[begin:end]


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    for line in shell_commands(page):
        words = shlex.split(line)[1:]
        command: click.Command = cli
        while isinstance(command, click.Group):
            name = words.pop(0)
            found = command.get_command(click.Context(command), name)
            assert found is not None, f"{line}: no {name}"
            command = found
        known = {name for parameter in command.params for name in parameter.opts}
        for word in words:
            if word.startswith("-"):
                assert word in known, f"{line}: no {word}"


def test_the_picture_is_of_a_demo_that_came_to_its_end() -> None:
    text = (DOCS / "demo.svg").read_text()
    shown = re.sub(r"<[^>]+>", "", text).replace("&#160;", " ")
    for words in ("Four peers form a network", "is killed", "has caught up", "Proved", "Done"):
        assert words in shown, words
