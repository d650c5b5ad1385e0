"""`wattledger node doctor|backup|restore|export|import`: keeping a node."""

from pathlib import Path

import click

from node.commands.common import (
    check_url,
    console,
    json_option,
    make_table,
    print_json,
    printable,
    say,
)

CONFIG = click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                      required=True, help="The node's settings, node.toml.")  # fmt: skip
MARKS = {"ok": "[green]ok[/green]", "warn": "[yellow]look[/yellow]", "fail": "[red]FAIL[/red]"}


def check_given_url(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else check_url(ctx, param, value)


@click.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The node's settings: to look at its disk and the others too.")  # fmt: skip
@click.option("--rpc", envvar="WATTLEDGER_RPC", metavar="URL", callback=check_given_url,
              help="The node to ask.  [default: that of --config, or port 8545]")  # fmt: skip
@json_option
def doctor(config: Path | None, rpc: str | None, as_json: bool) -> None:
    """Look at network, clock, versions, disk, card wear, memory, and how clients are answered.

    Exit code 1 where something fails.

    \b
    Example:
      wattledger node doctor --config /var/lib/wattledger/node/node.toml
    """
    from rich.markup import escape

    from node.config import load_config
    from node.doctor import examine

    settings = load_config(config) if config is not None else None
    port = settings.rpc_port if settings is not None else 8545
    url = rpc or f"http://127.0.0.1:{port}"
    findings = examine(url, settings)
    if as_json:
        print_json(
            [{"level": one.level, "what": one.what, "said": one.said, "advice": one.advice}
             for one in findings]
        )  # fmt: skip
    else:
        table = make_table("what", "is", "found")
        for one in findings:
            text = one.said + (f"\nWhat to do: {one.advice}" if one.advice else "")
            table.add_row(one.what, MARKS[one.level], escape(printable(text)))
        console.print(table)
    if any(one.level == "fail" for one in findings):
        raise SystemExit(1)


@click.command()
@CONFIG
@click.argument("out", type=click.Path(path_type=Path))
def backup(config: Path, out: Path) -> None:
    """Copy a node's chain into the new folder OUT while it runs, and prove the copy.

    The node's key and its signer record are not in it, see docs/operations.md.

    \b
    Example:
      wattledger node backup --config node.toml /mnt/usb/2026-11-21
    """
    from node.backup import make_backup

    height, block_hash = make_backup(config, out)
    say(f"{out}: block {height}, 0x{block_hash.hex()}; the copy was opened and executed")
    say("the key and its signer record are not in it: keep node.key in another safe place")


@click.command()
@CONFIG
@click.option("--replace", is_flag=True, help="Where there is a chain: keep it beside the other.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore(config: Path, replace: bool, folder: Path) -> None:
    """Put the backup in FOLDER into the data folder of a node that is stopped.

    \b
    Example:
      wattledger node restore --config node.toml /mnt/usb/2026-11-21
    """
    from node.backup import restore_backup

    done = restore_backup(folder, config, replace=replace)
    say(f"block {done.height} is the head, 0x{done.block_hash.hex()}")
    if done.old_file is not None:
        say(f"what was there is now {done.old_file}; remove it once all is well")
    if done.record_kept:
        say("the signer record stayed: the node signs as soon as it has caught up with it")
    else:
        say(
            "there is no signer record, for none is ever in a backup: where blocks are voted on, a "
            "validator follows the chain and signs again once others have told it which blocks it "
            "cannot have signed"
        )


@click.command("export")
@CONFIG
@click.option("--first", default=1, show_default=True, type=click.IntRange(1), help="First block.")
@click.option("--last", type=click.IntRange(1), help="Last block.  [default: the head]")
@click.argument("out", type=click.Path(path_type=Path))
def export_(config: Path, first: int, last: int | None, out: Path) -> None:
    """Write blocks with their certificates into the new file OUT; the node is stopped meanwhile.

    \b
    Example:
      wattledger node export --config node.toml blocks.gz
    """
    from node.block_files import export_blocks

    say(f"{out}: {export_blocks(config, out, first, last)} blocks")


@click.command("import")
@CONFIG
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(config: Path, file: Path) -> None:
    """Verify and execute the blocks in FILE on a node that is stopped.

    \b
    Example:
      wattledger node import --config node.toml blocks.gz
    """
    from node.block_files import import_blocks

    new, head = import_blocks(config, file)
    say(f"{new} new blocks, each with its certificate or its work; block {head} is the head")
