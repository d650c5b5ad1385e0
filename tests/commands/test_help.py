"""Every command says what it does, and shows itself in use."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest

from node.main import COMMANDS, cli
from tests.commands.terminal import misuse, succeed


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from walk(found, (*path, name))


EVERY = list(walk(cli, ()))


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)  # type: ignore[assignment]
    return command


def test_every_command_of_the_issue_is_there() -> None:
    assert {" ".join(path) for path in EVERY} >= {
        "devnet", "demo", "network new", "node run", "node status", "node install", "meter run",
        "meter install", "account new", "account list", "account import", "account export",
        "account balance", "account send", "contract build", "contract check", "contract deploy",
        "contract call", "contract send", "contract layout", "usage", "bill", "verify bill",
    }  # fmt: skip


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_help_shows_an_example_of_this_command_with_options_it_has(path: tuple[str, ...]) -> None:
    text = succeed(*path, "--help")
    assert "Usage: " in text
    _, _, example = text.partition("Example:\n")
    lines = example.partition("Options:")[0].replace("\\\n", " ")
    words = shlex.split(lines.split(">")[0])
    words = words[words.index("wattledger") + 1 :]
    assert tuple(words[: len(path)]) == path
    known = {name for parameter in find(path).params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    for parameter in find(path).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts


def test_the_first_page_lists_what_there_is() -> None:
    text = succeed("--help")
    for name, (_, _, line) in COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(line)}", text, re.MULTILINE)


def test_the_version_is_the_distributions() -> None:
    assert succeed("--version").strip().endswith(version("wattledger"))


def test_a_command_that_is_none_is_named() -> None:
    assert misuse("mine") == "Error: No such command 'mine'."


def test_the_installed_program_is_this_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(version("wattledger"))
