"""`wattledger contract build|check|layout`: what a source is, without a node."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import click

from ledger.contract.artifact import build_artifact
from ledger.contract.compile import compile_contract
from ledger.contract.layout import describe_layout
from ledger.contract.model import ContractModel
from ledger.errors import ContractRejected
from node.commands.common import console, json_option, make_table, print_json, say
from node.errors import NodeError


def read_source(path: str) -> bytes:
    """A contract's source: a file, or a standard contract by its name."""
    if Path(path).is_file():
        return Path(path).read_bytes()
    if path.isidentifier():
        standard = resources.files("contracts_py").joinpath(f"{path}.py")
        if standard.is_file():
            return standard.read_bytes()
    raise NodeError(f"no file {path!r}, and no standard contract of that name")


def read_abi(path: str) -> list[dict[str, Any]]:
    """The ABI from an artifact (.json) or from a contract's source."""
    if path.endswith(".json"):
        try:
            document = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise NodeError(f"{path} is no artifact: {error}") from error
        entries = document.get("abi") if isinstance(document, dict) else document
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise NodeError(f"{path} is no artifact: expected a list of ABI entries under abi")
        return list(entries)
    return list(compile_artifact(path)["abi"])


def compile_artifact(path: str) -> dict[str, Any]:
    """The artifact of a source. Raises NodeError that names the file, rule, line and hint."""
    try:
        return build_artifact(read_source(path))
    except ContractRejected as error:
        raise NodeError(f"{path}: {error}") from error


def compile_model(path: str) -> tuple[bytes, ContractModel]:
    """A source and what was understood of it. Raises NodeError as `compile_artifact`."""
    source = read_source(path)
    try:
        return source, compile_contract(source).model
    except ContractRejected as error:
        raise NodeError(f"{path}: {error}") from error


@click.command()
@click.argument("path")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="Artifact to write.")  # fmt: skip
def build(path: str, output: Path) -> None:
    """Write {contractName, abi, bytecode}, which web3.py and ethers deploy as it is.

    \b
    Example:
      wattledger contract build el_dapp -o Provider.json
    """
    artifact = compile_artifact(path)
    output.write_text(json.dumps(artifact, indent=2) + "\n")
    say(f"{artifact['contractName']}: {len(artifact['abi'])} ABI entries -> {output}")


@click.command()
@click.argument("path")
def check(path: str) -> None:
    """Say whether a source keeps every rule of the contract language.

    \b
    Example:
      wattledger contract check my_contract.py
    """
    source, model = compile_model(path)
    say(
        f"{path}: {model.name} keeps the rules ({len(source):,} bytes, "
        f"{len(model.methods)} methods, {len(model.fields)} storage fields)"
    )


@click.command()
@click.argument("path")
@json_option
def layout(path: str, as_json: bool) -> None:
    """Print which storage slot holds what, as solc does for Solidity.

    \b
    Example:
      wattledger contract layout metering
    """
    described = describe_layout(compile_model(path)[1])
    if as_json:
        print_json(described)
        return
    table = make_table(">slot", ">offset", "name", "type", ">bytes")
    for entry in described["storage"]:
        kind = described["types"][entry["type"]]
        table.add_row(
            str(entry["slot"]), str(entry["offset"]), entry["label"], kind["label"],
            str(kind["numberOfBytes"]),
        )  # fmt: skip
    console.print(table)
