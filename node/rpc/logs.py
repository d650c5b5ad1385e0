"""Methods for logs: the query over a range, and the filters that are polled.

A query is bounded in blocks and in results; it reads headers, whose bloom tells which receipts to
look at, and rests in between. Source: Ethereum execution-apis (eth_getLogs and filter methods).
"""

import time
from typing import Any

from ledger.types import Height
from node.rpc.context import METHODS, Context, find_height
from node.rpc.dispatch import rest
from node.rpc.errors import LIMIT_EXCEEDED, SERVER_ERROR, RpcError, invalid_params
from node.rpc.filters import Filter, may_match, select_logs
from node.rpc.parameters import LATEST, LogFilter, Parameter, parse_filter, parse_text

RANGE_BLOCKS_MAX = 5_000
"""Of one query; Besu's bound."""
LOGS_MAX = 10_000
"""Of one answer: some 6 MB of JSON."""

FILTER = Parameter("filter", parse_filter)
FILTER_ID = Parameter("filter id", parse_text)
NOT_FOUND = "filter not found"

Json = dict[str, Any]


@METHODS.method("eth_getLogs", FILTER, heavy=True)
async def get_logs(context: Context, logs: LogFilter) -> list[Json]:
    """The logs of a range of at most RANGE_BLOCKS_MAX blocks; RpcError where that is exceeded."""
    first, last = find_range(context, logs)
    if last - first >= RANGE_BLOCKS_MAX:
        raise RpcError(
            LIMIT_EXCEEDED,
            f"the range has {last - first + 1} blocks, at most {RANGE_BLOCKS_MAX} are searched "
            "at once: ask for parts of it",
        )
    found, _ = await search(context, logs, first, last, refuse=True)
    return found


@METHODS.method("eth_newFilter", FILTER)
def new_filter(context: Context, logs: LogFilter) -> str:
    """As in geth its changes are those from now on; eth_getFilterLogs looks back."""
    first = context.node.chain.head.number + 1
    if logs.from_block is not None and logs.from_block.height is not None:
        first = max(first, logs.from_block.height)
    return context.node.filters.add(Filter("logs", first, logs))


@METHODS.method("eth_newBlockFilter")
def new_block_filter(context: Context) -> str:
    return context.node.filters.add(Filter("blocks", context.node.chain.head.number + 1))


@METHODS.method("eth_newPendingTransactionFilter")
def new_pending_filter(context: Context) -> str:
    return context.node.filters.add(Filter("pending", 0))


@METHODS.method("eth_uninstallFilter", FILTER_ID)
def uninstall_filter(context: Context, key: str) -> bool:
    return context.node.filters.remove(key)


@METHODS.method("eth_getFilterChanges", FILTER_ID, heavy=True)
async def get_filter_changes(context: Context, key: str) -> list[Any]:
    """What is new since the last poll; after a long silence in parts, the next poll goes on."""
    one = _poll(context, key)
    head = context.node.chain.head.number
    if one.kind == "pending":
        hashes = ["0x" + transaction_hash.hex() for transaction_hash in one.pending]
        one.pending.clear()
        return hashes
    last = min(head, one.next_height + RANGE_BLOCKS_MAX - 1)
    if one.kind == "blocks":
        heights = range(one.next_height, last + 1)
        one.next_height = max(one.next_height, last + 1)
        return ["0x" + context.node.chain.header(height).hash.hex() for height in heights]
    logs = one.logs or LogFilter()
    removed = one.take_removed()
    if logs.to_block is not None and logs.to_block.height is not None:
        last = min(last, logs.to_block.height)
    found, reached = await search(context, logs, one.next_height, last, refuse=False)
    one.next_height = max(one.next_height, reached + 1)
    return removed + found


@METHODS.method("eth_getFilterLogs", FILTER_ID, heavy=True)
async def get_filter_logs(context: Context, key: str) -> list[Json]:
    """All logs that a log filter selects, from its first block on."""
    one = _poll(context, key)
    if one.kind != "logs" or one.logs is None:
        raise RpcError(SERVER_ERROR, NOT_FOUND)
    found: list[Json] = await get_logs(context, one.logs)
    return found


def find_range(context: Context, logs: LogFilter) -> tuple[Height, Height]:
    """First and last height of a query; by default the head. Raises RpcError."""
    if logs.block_hash is not None:
        height = context.node.chain.height_of(logs.block_hash)
        if height is None:
            raise RpcError(SERVER_ERROR, "unknown block")
        return height, height
    head = context.node.chain.head.number
    first_tag, last_tag = logs.from_block or LATEST, logs.to_block or LATEST
    first = first_tag.height if first_tag.height is not None else find_height(context, first_tag)
    last = find_height(context, last_tag)
    if first is None or (last is None and last_tag.height is None):
        raise RpcError(SERVER_ERROR, "unknown block")
    if last_tag.height is not None and last_tag.height < first:
        raise invalid_params("invalid block range params: fromBlock is above toBlock")
    return first, head if last is None else last


async def search(
    context: Context, logs: LogFilter, first: Height, last: Height, *, refuse: bool
) -> tuple[list[Json], Height]:
    """The selected logs of a range and the height up to which it was read.

    Above LOGS_MAX results the search ends early, or raises RpcError where `refuse` says so.
    """
    node = context.node
    found: list[Json] = []
    started = time.perf_counter()
    for height in range(first, last + 1):
        started = await rest(started)
        if not may_match(node.chain.header(height).bloom, logs):
            continue
        found.extend(select_logs(node.recent.get(height), logs))
        if len(found) > LOGS_MAX:
            if refuse:
                raise RpcError(
                    LIMIT_EXCEEDED,
                    f"query returned more than {LOGS_MAX} results: ask for a smaller range",
                )
            return found, height
    return found, last


def _poll(context: Context, key: str) -> Filter:
    one = context.node.filters.poll(key)
    if one is None:
        raise RpcError(SERVER_ERROR, NOT_FOUND)
    return one
