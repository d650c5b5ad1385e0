"""`wattledger demo`: the main job, end to end, with real processes on this machine."""

import shutil
import tempfile
from pathlib import Path

import click
from rich.console import Console

from node.commands.common import console
from node.errors import NodeError

PICTURE_COLUMNS = 118  # what the widest table needs


@click.command()
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Your own CSV: times, and one to four columns of watts.")  # fmt: skip
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path),
              help="Keep network, readings and logs in this new folder.")  # fmt: skip
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path),
              help="Write what was shown to an SVG file.")  # fmt: skip
def demo(data: Path | None, keep: Path | None, picture: Path | None) -> None:
    """Four nodes record real household readings; every bill is proved at the end.

    \b
    Example:
      wattledger demo --data my_house.csv --keep my_demo
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise NodeError(f"{keep} is not empty: name a new folder")
    if picture is None:
        show_demo(console, data, keep)
        return
    # Not as a terminal: every state of the moving table would be in the picture.
    shown = Console(record=True, width=PICTURE_COLUMNS, force_terminal=False)
    show_demo(shown, data, keep)
    shown.save_svg(str(picture), title="wattledger demo")


def show_demo(shown: Console, data: Path | None, keep: Path | None) -> None:
    """Run the demo in a folder that is kept, or is gone when all went well."""
    from node.demo.story import run_demo

    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="wattledger-demo-"))
    try:
        run_demo(shown, folder, data)
    except (NodeError, KeyboardInterrupt):
        if (folder / "logs").exists():
            shown.print(f"what happened stands in {folder}/logs")
        elif keep is None:
            shutil.rmtree(folder)  # nothing was started
        raise
    if keep is None:
        shutil.rmtree(folder)
        return
    shown.print(f"kept in {keep}; start the nodes again with: "
                f"wattledger node run --config {keep}/network/node1/node.toml")  # fmt: skip
