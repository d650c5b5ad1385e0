"""`wattledger devnet` and `wattledger network new`: a local network, the files of a real one."""

import tempfile
from pathlib import Path

import click

from ledger.crypto.address import to_checksum
from ledger.genesis import ENGINES
from node.commands import members
from node.commands.common import ADDRESS, console, make_table, say
from node.commands.membership import DAY_S
from node.network_files import DIFFICULTY, CreatedNetwork


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(1, 21),
              help="How many validators.")  # fmt: skip
@click.option("--port", default=8545, show_default=True, type=click.IntRange(1, 65_535),
              help="Validator i answers on PORT + i.")  # fmt: skip
@click.option("--consensus", default="qbft", show_default=True, type=click.Choice(ENGINES),
              help="The engine: final blocks by votes, or proof of work.")  # fmt: skip
@click.option("--data", type=click.Path(file_okay=False, path_type=Path),
              help="Folder to keep the chain in.  [default: a temporary one]")  # fmt: skip
@click.option("--empty-block-period", default=0, show_default=True, type=click.IntRange(0),
              help="An empty block after so many quiet seconds; 0 for none.")  # fmt: skip
def devnet(
    nodes: int, port: int, consensus: str, data: Path | None, empty_block_period: int
) -> None:
    """Start a local network to develop against: chain id 1947, ten funded, unlocked accounts.

    \b
    Example:
      wattledger devnet --nodes 1
    """
    from node.devnet import run_devnet

    with tempfile.TemporaryDirectory(prefix="wattledger-devnet-") as temporary:
        code = run_devnet(
            data or Path(temporary),
            nodes=nodes,
            port=port,
            consensus=consensus,
            empty_block_period_s=empty_block_period,
        )
    raise SystemExit(code)


@click.group()
def network() -> None:
    """Make the files of a new network; see and change who is a member."""


for command in (members.propose, members.vote, members.members, members.rotate, members.override):
    network.add_command(command)


@network.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="Folder to make.")  # fmt: skip
@click.option("--name", default="wattledger", show_default=True, help="Name of the network.")
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(1, 21),
              help="How many nodes, all of them validators.")  # fmt: skip
@click.option("--host", "hosts", multiple=True, metavar="HOST",
              help="Where node i is reached, once per node.  [default: 127.0.0.1]")  # fmt: skip
@click.option("--chain-id", default=1947, show_default=True, type=click.IntRange(1, 2**52),
              help="Chain id, the same for wallets.")  # fmt: skip
@click.option("--administrator", "administrators", type=ADDRESS, multiple=True,
              help="Account that votes on changes; repeatable.  [default: a new key]")  # fmt: skip
@click.option("--validators-vote", is_flag=True,
              help="Validators vote on changes, not administrators.")  # fmt: skip
@click.option("--votes", "votes_needed", default=0, show_default=True,
              type=click.IntRange(0, 100),
              help="Votes that a change needs; 0: more than half.")  # fmt: skip
@click.option("--proposal-days", default=30, show_default=True, type=click.IntRange(1, 365),
              help="How long a proposal waits for votes.")  # fmt: skip
@click.option("--account", "accounts", type=ADDRESS, multiple=True,
              help="Account that may transact; given once or more, others may not.")  # fmt: skip
@click.option("--deployer", "deployers", type=ADDRESS, multiple=True,
              help="Account that may deploy contracts; may be repeated.")  # fmt: skip
@click.option("--consensus", default="qbft", show_default=True, type=click.Choice(ENGINES),
              help="The engine: final blocks by votes, or proof of work.")  # fmt: skip
@click.option("--difficulty", default=DIFFICULTY, show_default=True, type=click.IntRange(1),
              help="Of proof of work: hashes that a block takes; it never changes.")  # fmt: skip
@click.option("--block-period-ms", default=1_000, show_default=True, type=click.IntRange(0),
              help="Least time between two blocks.")  # fmt: skip
@click.option("--rpc-port", default=8545, show_default=True, type=click.IntRange(1, 65_535),
              help="Port for JSON-RPC; on one host node i has PORT + i.")  # fmt: skip
@click.option("--peer-port", default=30_545, show_default=True, type=click.IntRange(1, 65_535),
              help="Port for peers; on one host node i has PORT + i.")  # fmt: skip
def new(
    out: Path,
    name: str,
    nodes: int,
    hosts: tuple[str, ...],
    chain_id: int,
    administrators: tuple[bytes, ...],
    validators_vote: bool,
    votes_needed: int,
    proposal_days: int,
    accounts: tuple[bytes, ...],
    deployers: tuple[bytes, ...],
    consensus: str,
    difficulty: int,
    block_period_ms: int,
    rpc_port: int,
    peer_port: int,
) -> None:
    """Write network.json and a folder for each node with node.toml, its key and its data.

    \b
    Example:
      wattledger network new --out grid --host 10.0.0.1 --host 10.0.0.2 --nodes 2
    """
    from node.network_files import create_network

    made = create_network(
        out,
        name=name,
        nodes=nodes,
        hosts=hosts,
        chain_id=chain_id,
        administrators=administrators,
        validators_vote=validators_vote,
        votes_needed=votes_needed,
        expiry_s=proposal_days * DAY_S,
        accounts=accounts,
        accounts_only=bool(accounts),
        deployers=deployers,
        consensus=consensus,
        difficulty=difficulty,
        block_period_ms=block_period_ms,
        rpc_port=rpc_port,
        peer_port=peer_port,
    )
    _tell_network(made)


def _tell_network(made: CreatedNetwork) -> None:
    """What was made, and what to do with it."""
    table = make_table("node", "address", "json-rpc")  # 80 columns have room for no more
    for member in made.members:
        table.add_row(
            member.name,
            to_checksum(member.address),
            f"http://{member.host}:{member.rpc_port}",
        )
    console.print(table)
    peers = ", ".join(f"{member.host}:{member.port}" for member in made.members)
    say(f"they reach each other at {peers}")
    say(f"network file {made.network_file}; give every node the same one")
    if made.administrator_key_file is not None:
        say(
            f"{made.administrator_key_file} changes members: keep it off the nodes, in a safe place"
        )
    say("copy each node's folder to its machine, then: wattledger node run --config ...")
