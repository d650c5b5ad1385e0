"""`wattledger demo`: the main job, end to end, with real processes on this machine."""

import shutil
import tempfile
from pathlib import Path

import click
from rich.console import Console

from ledger.genesis import ENGINES
from node.commands.common import console
from node.errors import NodeError

PICTURE_COLUMNS = 118  # what the widest table needs
STORY_COLUMNS = 80  # of a terminal; a story's tables fit
STORIES = ("el-dapp", "wattcoin", "microgrid", "channel", "auction")


@click.command()
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Your own CSV: times, and one to four columns of watts.")  # fmt: skip
@click.option("--consensus", default="qbft", show_default=True, type=click.Choice(ENGINES),
              help="The engine: final blocks by votes, or proof of work.")  # fmt: skip
@click.option("--story", type=click.Choice(STORIES),
              help="Instead: a published system's experiment, in under a minute.")  # fmt: skip
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path),
              help="Put a story's table into a Markdown file.")  # fmt: skip
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path),
              help="Keep network, readings and logs in this new folder.")  # fmt: skip
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path),
              help="Write what was shown to an SVG file.")  # fmt: skip
def demo(
    data: Path | None,
    consensus: str,
    story: str | None,
    markdown: Path | None,
    keep: Path | None,
    picture: Path | None,
) -> None:
    """Four nodes record real household readings; every bill is proved at the end.

    With --story a published system's experiment: el-dapp, wattcoin, microgrid, channel, auction.

    \b
    Example:
      wattledger demo --data my_house.csv --keep my_demo
    """
    if story is None and markdown is not None:
        raise NodeError("--markdown is for a story: name one with --story")
    if story is not None and data is not None:
        raise NodeError("a story has readings of its own: leave out --data")
    if story is not None and consensus != "qbft":
        raise NodeError("a story has a network of its own, which votes: leave out --consensus")
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise NodeError(f"{keep} is not empty: name a new folder")
    if picture is None:
        show_demo(console, data, keep, story, markdown, consensus)
        return
    # Not as a terminal: every state of the moving table would be in the picture.
    columns = STORY_COLUMNS if story else PICTURE_COLUMNS
    shown = Console(record=True, width=columns, force_terminal=False)
    show_demo(shown, data, keep, story, markdown, consensus)
    title = f"wattledger demo --story {story}" if story else "wattledger demo"
    shown.save_svg(str(picture), title=title)


def show_demo(
    shown: Console,
    data: Path | None,
    keep: Path | None,
    story: str | None = None,
    markdown: Path | None = None,
    consensus: str = "qbft",
) -> None:
    """Run the demo or a story in a folder that is kept, or is gone when all went well."""
    from node.demo.stories.run import run_story
    from node.demo.story import run_demo

    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="wattledger-demo-"))
    try:
        if story is not None:
            run_story(shown, folder, story, markdown)
        else:
            run_demo(shown, folder, data, consensus)
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
