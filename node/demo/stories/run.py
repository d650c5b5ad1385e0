"""One story from its first line to its last table."""

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from node.demo.stories import auction, channel, el_dapp, microgrid, wattcoin
from node.demo.stories.figures import Comparison, describe_machine, write_section
from node.demo.stories.stage import Stage, open_stage, show_network

STORIES: dict[str, tuple[str, Callable[[Stage, Console], Comparison]]] = {
    "el-dapp": ("The electricity dapp: readings, and what is owed for them", el_dapp.play),
    "wattcoin": ("Wattcoin: energy as a coin, used up by meters", wattcoin.play),
    "microgrid": ("The microgrid: adverts, purchases, delivery, tax", microgrid.play),
    "channel": ("The payment channel: a day's watt-hours, two transactions", channel.play),
    "auction": ("The double auction: one hour, one price", auction.play),
}


def run_story(console: Console, folder: Path, name: str, markdown: Path | None) -> None:
    """Play a story in `folder`; its table also in `markdown`. Raises NodeError."""
    began = time.monotonic()
    title, play = STORIES[name]
    console.rule(f"[bold]{title}")
    stage = open_stage(folder)
    try:
        show_network(console, stage)
        comparison = play(stage, console)
        height, block_hash = stage.check_agreement()
        console.print(f"all four nodes have block {height}: {block_hash[:18]}...", highlight=False)
    finally:
        stage.close()
    console.rule("[bold]Published, and here")
    console.print(comparison.table())
    console.print(f"[dim]here: {describe_machine()}[/dim]", highlight=False)
    seconds = time.monotonic() - began
    if markdown is not None:
        write_section(markdown, name, comparison.markdown(seconds))
    console.print(f"[bold green]Done[/bold green] in {seconds:.0f} s.")
