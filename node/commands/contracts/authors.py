"""`wattledger contract new|test|gas|docs|rules`: what an author needs before there is a node."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from ledger.contract.testing.gas_report import GasRow
from node.commands.common import console, json_option, make_table, print_json, say
from node.commands.contracts.describe import describe_contract, describe_rules
from node.commands.contracts.sources import compile_model
from node.commands.contracts.templates import CONTRACT, TEST
from node.errors import NodeError

NAME_LENGTH_MAX = 64
TESTS_FAILED = 1  # pytest's exit code where a test failed


@click.command()
@click.argument("name")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="Where to write.  [default: here]")  # fmt: skip
def new(name: str, folder: Path) -> None:
    """Make a contract NAME and its test, as a start.

    \b
    Example:
      wattledger contract new jar
    """
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)
    module = "_".join(word.lower() for word in words)
    if not name.isidentifier() or not module.isidentifier() or len(name) > NAME_LENGTH_MAX:
        raise NodeError(f"{name!r} is no name for a contract: letters, digits and _, such as jar")
    kind = "".join(word.capitalize() for word in words)
    source, test = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in (source, test):
        if path.exists():
            raise NodeError(f"{path} is there already; nothing is written")
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in ((source, CONTRACT), (test, TEST)):
        text = template.replace("NAME", kind).replace("MODULE", module)
        path.write_text(text.replace("VARIABLE", module if module != "test" else "it"))
    say(f"{source}: the contract {kind}")
    say(f"{test}: its test; run it with: wattledger contract test {test}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run the tests of contracts; ARGUMENTS are pytest's, such as a file or --pdb.

    For a contract's own file, the test beside it is run.

    \b
    Example:
      wattledger contract test test_jar.py
    """
    named = [str(test_beside(Path(one))) if one.endswith(".py") else one for one in arguments]
    sys.exit(subprocess.run(pytest_command(*named), check=False).returncode)


def test_beside(path: Path) -> Path:
    """The test of a contract's file; of a test, itself. Raises NodeError where there is none."""
    if not path.is_file() or path.name.startswith("test_"):
        return path
    test = path.with_name(f"test_{path.name}")
    if not test.exists():
        raise NodeError(f"{test} is not there: it is what would be run for {path}")
    return test


def pytest_command(*arguments: str) -> list[str]:
    """How pytest is started in this environment. Raises NodeError where it is not installed."""
    if importlib.util.find_spec("pytest") is None:
        raise NodeError(
            f"pytest is not installed here: {sys.executable} -m pip install pytest hypothesis"
        )
    return [sys.executable, "-m", "pytest", "-q", *arguments]


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=Path())
@json_option
def gas(path: Path, as_json: bool) -> None:
    """Run the tests and print what each method's calls used; PATH is a test, folder or contract.

    A transaction adds its intrinsic gas to these: 21,000, and 4 or 16 for each byte of its data.

    \b
    Example:
      wattledger contract gas jar.py
    """
    rows = measure_gas(test_beside(path))
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    table = make_table("contract", "method", ">calls", ">least", ">median", ">most")
    for row in rows:
        table.add_row(*[one if isinstance(one, str) else f"{one:,}" for one in row])
    console.print(table)


def measure_gas(path: Path) -> list[GasRow]:
    """What the calls of the tests in `path` used. Raises NodeError where one fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gas.json"
        plugin = ("-p", "ledger.contract.testing.plugin", "--gas-json", str(file))
        done = subprocess.run(
            pytest_command(*plugin, str(path)), capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or not file.exists():
            if done.returncode == TESTS_FAILED:
                say(done.stdout)
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise NodeError(f"the tests in {path} did not pass: {' '.join(last)}")
        rows: list[dict[str, Any]] = json.loads(file.read_text())
    return [GasRow(**row) for row in rows]


@click.command()
@click.argument("path")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write; without it the text is printed.")  # fmt: skip
def docs(path: str, output: Path | None) -> None:
    """Write a contract's interface as Markdown: methods, events, errors, storage, docstrings.

    \b
    Example:
      wattledger contract docs jar.py -o jar.md
    """
    text = describe_contract(compile_model(path)[1])
    if output is None:
        click.echo(text, nl=False)
        return
    output.write_text(text)
    say(f"{output}: {len(text.splitlines())} lines")


@click.command()
def rules() -> None:
    """Print what the contract language allows, and the rules that a source must keep.

    \b
    Example:
      wattledger contract rules
    """
    click.echo(describe_rules(), nl=False)
