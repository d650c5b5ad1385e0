"""`wattledger node`: run one, ask one how it is, install it as a service."""

from pathlib import Path

import click
from rich.markup import escape

from node.commands import upkeep
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

IN_THE_WORDS = ("explanation", "evidence", "missingSince", "timeMs", "well")
"""Of a status: what the sentences below the table say better, and what only programs read."""
CONFIG_HELP = "The node's settings, node.toml."


@click.group()
def node() -> None:
    """Run a node, ask one how it is, look after it, install it."""


for command in (upkeep.doctor, upkeep.backup, upkeep.restore, upkeep.export_, upkeep.import_):
    node.add_command(command)


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


@node.command("new")
@click.option("--network", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help="The network file that the other nodes have.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="Folder to make.")  # fmt: skip
@click.option("--name", required=True, help="What the node calls itself.")
@click.option("--host", required=True, help="Where other nodes reach it.")
@click.option("--peer-port", default=30_545, show_default=True, type=click.IntRange(1, 65_535),
              help="Port for peers.")  # fmt: skip
@click.option("--rpc-port", default=8545, show_default=True, type=click.IntRange(1, 65_535),
              help="Port for JSON-RPC.")  # fmt: skip
def new_node(network: Path, out: Path, name: str, host: str, peer_port: int, rpc_port: int) -> None:
    """Make the folder of one more node for a network that runs: its key, settings, network file.

    \b
    Example:
      wattledger node new --network network.json --out node5 --name node5 --host 10.0.0.5
    """
    from node.network_files import load_network_file
    from node.new_node import create_node

    made = create_node(network, out, name=name, host=host, port=peer_port, rpc_port=rpc_port)
    address = made.entry["address"]
    say(f"{name} is {address}; its files are in {out}")
    allow = f"wattledger network propose allow-node {address} --from ADMINISTRATOR"
    if load_network_file(network).genesis.consensus == "pow":
        say(f"let it connect and mine: {allow}")
    else:
        say("let it connect, and validate once it says that it is ready, with:")
        say(f"  wattledger network propose add-validator {address} --from ADMINISTRATOR")
        say(f"or only follow: {allow}")
    say(f"then start it there: wattledger node run --config {made.member.config_file}")


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
        if key not in IN_THE_WORDS:
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
