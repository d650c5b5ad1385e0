"""`wattledger demo`: the main job, end to end, with real processes on this machine."""

import shutil
import tempfile
from pathlib import Path

import click

from node.commands.common import console
from node.errors import NodeError


@click.command()
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Your own CSV: times, and one to four columns of watts.")  # fmt: skip
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path),
              help="Keep network, readings and logs in this new folder.")  # fmt: skip
def demo(data: Path | None, keep: Path | None) -> None:
    """Four nodes record real household readings; every bill is proved at the end.

    \b
    Example:
      wattledger demo --data my_house.csv --keep my_demo
    """
    from node.demo.story import run_demo

    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise NodeError(f"{keep} is not empty: name a new folder")
        run_demo(console, keep.absolute(), data)
        console.print(f"kept in {keep}; start the nodes again with: "
                      f"wattledger node run --config {keep}/network/node1/node.toml")  # fmt: skip
        return
    folder = Path(tempfile.mkdtemp(prefix="wattledger-demo-"))
    try:
        run_demo(console, folder, data)
    except (NodeError, KeyboardInterrupt):
        console.print(f"what happened stands in {folder}/logs")
        raise
    shutil.rmtree(folder)
