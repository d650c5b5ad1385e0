"""`wattledger node`: run one, ask one how it is, install it as a service."""

from pathlib import Path

import click
from rich.markup import escape

from node.commands.common import (
    connect,
    console,
    json_option,
    make_table,
    print_json,
    printable,
    rpc_option,
    say,
)
from node.service import install_service

CONFIG_HELP = "The node's settings, node.toml."


@click.group()
def node() -> None:
    """Run a node, ask one how it is, install it."""


@node.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help=CONFIG_HELP)  # fmt: skip
def run(config: Path) -> None:
    """Run a node until SIGTERM or SIGINT.

    \b
    Example:
      wattledger node run --config grid/node1/node.toml
    """
    from node.daemon import run_node

    raise SystemExit(run_node(config))


@node.command()
@rpc_option
@json_option
def status(rpc: str, as_json: bool) -> None:
    """Say in plain words how the network stands and, if it is stuck, on whom it waits.

    \b
    Example:
      wattledger node status --rpc http://127.0.0.1:8545
    """
    answer = connect(rpc).call("wattledger_status")
    if as_json:
        print_json(answer)
        return
    table = make_table("what", "value")
    for key, value in answer.items():
        if key not in ("explanation", "evidence"):  # the one tells of the other
            table.add_row(key, escape(printable(describe(value))))
    console.print(table)
    say(answer.get("explanation", ""), soft_wrap=False)


def describe(value: object) -> str:
    """A value of the status as a person reads it: a list one entry a line."""
    if isinstance(value, list):
        return "\n".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


@node.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help=CONFIG_HELP)  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Print the unit, write nothing.")
def install(config: Path, only_print: bool) -> None:
    """Write and enable a systemd unit that runs this node at every start.

    \b
    Example:
      sudo wattledger node install --config /etc/wattledger/node.toml
    """
    text = install_service("node", config, only_print=only_print)
    click.echo(text)
