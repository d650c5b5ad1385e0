"""What a method is handed, and the one table that methods enter themselves into.

Belongs here: the part of the node that JSON-RPC sees, and finding a block by its tag. Not here: the
methods (the modules that `table` imports).
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.chain import Chain
from ledger.pool import Pool
from ledger.state.state import State
from ledger.transaction import Transaction
from ledger.types import Address, Hash32, Height
from node.changes import ValidatorChanges
from node.feed import Feed
from node.recent import Full, RecentBlocks
from node.rpc.dispatch import MethodTable
from node.rpc.errors import SERVER_ERROR, RpcError
from node.rpc.filters import Filters
from node.rpc.parameters import BlockTag
from node.rpc.session import Session

METHODS = MethodTable()


class NodeView(Protocol):
    """The node as JSON-RPC sees it."""

    chain: Chain
    pool: Pool
    recent: RecentBlocks
    changes: ValidatorChanges
    feed: Feed
    filters: Filters
    address: Address
    unlocked: dict[Address, bytes]

    def submit(self, raws: Sequence[bytes]) -> Awaitable[Sequence[Transaction | Exception]]:
        """Take transactions in; for each the transaction, or why it was not taken."""

    def describe_sync(self) -> dict[str, Any] | None:
        """Where catching up stands; None where it is done."""

    def describe_peers(self) -> list[dict[str, Any]]: ...

    def describe_node(self) -> dict[str, Any]: ...

    def explain(self) -> dict[str, Any]:
        """How the network stands in plain words, and on whom it waits."""


@dataclass(slots=True)
class Context:
    """The first argument of every method; `session` is None over HTTP."""

    node: NodeView
    session: Session | None


def find_height(context: Context, tag: BlockTag) -> Height | None:
    """The height that a tag names; None where there is no such block.

    Where every block is final, latest, safe, finalized and pending are the head. On a mined chain
    safe is the newest settled block, and finalized genesis: nothing else is for ever.
    """
    chain = context.node.chain
    head = chain.head.number
    if tag.height is not None:
        return tag.height if tag.height <= head else None
    if tag.block_hash is not None:
        return chain.height_of(tag.block_hash)
    named = {"earliest": 0, "safe": chain.safe_height, "finalized": chain.final_height}
    return named.get(tag.name or "", head)


def get_height(context: Context, tag: BlockTag) -> Height:
    """As `find_height`; raises RpcError with geth's text where there is no such block."""
    height = find_height(context, tag)
    if height is None:
        raise RpcError(SERVER_ERROR, "header not found")
    return height


def get_state(context: Context, tag: BlockTag) -> State:
    """The state after a block. Raises RpcError, and StoreError where it was pruned."""
    return context.node.chain.state_at(get_height(context, tag))


def find_full(context: Context, tag: BlockTag) -> Full | None:
    """The block that a tag names, with its receipts."""
    height = find_height(context, tag)
    return None if height is None else context.node.recent.get(height)


def find_block(context: Context, block_hash: Hash32) -> Full | None:
    return find_full(context, BlockTag(block_hash=block_hash))


def is_old(context: Context, tag: BlockTag, *_: object) -> bool:
    """Whether a call with this tag reads a whole block from the store, and recovers its senders."""
    height = find_height(context, tag)
    return height is not None and not context.node.recent.has(height)


def is_old_block(context: Context, block_hash: Hash32, *_: object) -> bool:
    return is_old(context, BlockTag(block_hash=block_hash))


def is_old_transaction(context: Context, transaction_hash: Hash32) -> bool:
    """The same for the block of a transaction, which is not looked for: that reads blocks, too."""
    node = context.node
    return node.pool.get(transaction_hash) is None and not node.recent.has_transaction(
        transaction_hash
    )
