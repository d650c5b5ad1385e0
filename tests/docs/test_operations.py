"""docs/operations.md names commands, options, figures and words that exist."""

import inspect
import re

import click

from node import metrics
from node.explanation import DISK, MISSING_RECORD
from node.main import COMMANDS, cli
from tests.docs.pages import DOCS

PAGE = (DOCS / "operations.md").read_text()


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a line calls, and what follows its name."""
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    return command, words


def test_every_command_and_option_exists() -> None:
    calls = re.findall(r"wattledger ((?:node|network|verify|contract)[ \n][^#`\n]*)", PAGE)
    assert len(calls) > 12
    assert {call.split()[0] for call in calls} <= set(COMMANDS)
    for call in calls:
        command, words = find_command(call.split())
        options = {name for one in command.params for name in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, call


def test_every_figure_is_one_that_a_node_gives() -> None:
    source = inspect.getsource(metrics)
    names = re.findall(r"wattledger_(\w+)", PAGE)
    assert len(names) > 4
    for name in names:
        name = name.removesuffix("_total")
        assert f'"{name}"' in source or f'"wattledger_{name}"' in source, name


def test_the_words_of_status_are_those_of_the_code() -> None:
    for words in (DISK, MISSING_RECORD, "No block can be made", "Not reachable from here"):
        assert words in PAGE
