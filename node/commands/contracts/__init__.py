"""`wattledger contract`: from an empty folder to a contract that is deployed, tested, upgraded."""

import click

from node.commands.contracts.authors import docs, gas, new, rules, test
from node.commands.contracts.calls import call, deploy, explained, send
from node.commands.contracts.sources import build, check, layout, read_source
from node.commands.contracts.upgrades import diff, upgrade

__all__ = ["contract", "explained", "read_source"]


@click.group()
def contract() -> None:
    """Write, test, build, deploy, call and upgrade contracts.

    PATH is a Python file, or the name of a standard contract (el_dapp, metering, network).
    """


for command in (
    new,
    check,
    test,
    gas,
    docs,
    rules,
    layout,
    build,
    deploy,
    call,
    send,
    diff,
    upgrade,
):
    contract.add_command(command)
