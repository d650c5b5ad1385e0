"""The command `wattledger`: which commands there are. What each does stands in `node.commands`.

Commands are imported when they are called, so that `--help` and `--version` answer at once.
"""

import importlib
import sys
from importlib.metadata import version
from typing import Any

import click

from ledger.errors import LedgerError

# name -> (module, attribute, one line of help)
COMMANDS = {
    "devnet": ("node.commands.networks", "devnet", "Start a local network to develop against."),
    "demo": ("node.commands.demo", "demo", "Show the main job on real household readings."),
    "network": ("node.commands.networks", "network", "Make a network's files; change its members."),
    "node": ("node.commands.nodes", "node", "Run a node, ask one how it is, keep it well."),
    "meter": ("node.commands.meters", "meter", "Run meters, or install them as a service."),
    "account": ("node.commands.accounts", "account", "Keys, balances and transfers."),
    "contract": ("node.commands.contracts", "contract", "Write, test, deploy, upgrade contracts."),
    "channel": ("node.commands.channels", "channel", "Pay by signed messages off the chain."),
    "usage": ("node.commands.bills", "usage", "What an account used, by day or month."),
    "bill": ("node.commands.bills", "bill", "An account's bill for a month."),
    "verify": ("node.commands.verify", "verify", "Prove a bill without trusting any node."),
}


class LazyGroup(click.Group):
    """Imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("wattledger"), prog_name="wattledger")
def cli() -> None:
    """A permissioned ledger for electricity metering.

    \b
    Start here:
      wattledger devnet          a local network on http://127.0.0.1:8545
      wattledger demo            four nodes, four meters, bills you can check
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors a person can act on are one line on standard error."""
    from meter.errors import MeterError
    from node.client import ClientError
    from node.errors import NodeError

    try:
        return cli.main(arguments, standalone_mode=True)
    except (LedgerError, MeterError, NodeError, ClientError) as error:
        from node.commands.common import printable

        click.echo(printable(f"error: {error}"), err=True)  # a node's words may be among them
    except OSError as error:
        if error.filename is None:
            raise  # nothing that the user has named: where it comes from matters
        click.echo(f"error: {error.filename}: {error.strerror}", err=True)
    sys.exit(1)
