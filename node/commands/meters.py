"""`wattledger meter`: run the meters of a configuration, or install them as a service."""

import asyncio
from pathlib import Path

import click

from node.service import install_service

CONFIG_HELP = "The meters' settings, meter.toml."


@click.group()
def meter() -> None:
    """Run meters, or install them as a service."""


@meter.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help=CONFIG_HELP)  # fmt: skip
def run(config: Path) -> None:
    """Measure, sign and record until SIGTERM or SIGINT.

    \b
    Example:
      wattledger meter run --config /etc/wattledger/meter.toml
    """
    from meter.daemon import run as run_meters

    asyncio.run(run_meters(config))


@meter.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              required=True, help=CONFIG_HELP)  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Print the unit, write nothing.")
def install(config: Path, only_print: bool) -> None:
    """Write and enable a systemd unit that runs these meters at every start.

    \b
    Example:
      sudo wattledger meter install --config /etc/wattledger/meter.toml
    """
    click.echo(install_service("meter", config, only_print=only_print))
