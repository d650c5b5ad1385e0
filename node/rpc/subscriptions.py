"""eth_subscribe over WebSocket: new heads, logs, waiting transactions, syncing.

Where blocks are final no log is ever sent as removed. When a mined chain changes to another branch,
the logs of the withdrawn blocks are sent so, the newest first, then its new heads and their logs.
Source: geth's pubsub.
"""

import secrets
from collections.abc import Callable
from typing import Any

from ledger.transaction import Transaction
from node.recent import Full
from node.rpc.codec import JsonValue, encode_notification
from node.rpc.context import METHODS, Context
from node.rpc.errors import LIMIT_EXCEEDED, METHOD_NOT_FOUND, RpcError, invalid_params
from node.rpc.filters import may_match, select_logs, select_removed
from node.rpc.format import format_header, format_transaction
from node.rpc.parameters import (
    LogFilter,
    Parameter,
    parse_bool,
    parse_filter,
    parse_text,
)
from node.rpc.session import SUBSCRIPTIONS_MAX, Session

NODE_SUBSCRIPTIONS_MAX = 1_000
"""Of all connections: each is a message of some 25 us for every block, on the loop that votes."""
NODE_PENDING_MAX = 32
"""Of waiting transactions, of all connections: at 1,000 a second a hundred would take all of it."""
Push = Callable[[JsonValue], None]


def parse_options(value: JsonValue) -> object:
    """A log filter, or true for whole waiting transactions."""
    return parse_bool(value) if isinstance(value, bool) else parse_filter(value)


@METHODS.method(
    "eth_subscribe",
    Parameter("subscription", parse_text),
    Parameter("options", parse_options, None),
)
def subscribe(context: Context, kind: str, options: object) -> str:
    """Push news to this connection until it ends or unsubscribes; the key to do that by."""
    session, feed = _get_session(context), context.node.feed
    if len(session.subscriptions) >= SUBSCRIPTIONS_MAX:
        raise RpcError(LIMIT_EXCEEDED, f"at most {SUBSCRIPTIONS_MAX} subscriptions per connection")
    if feed.count_listeners() >= NODE_SUBSCRIPTIONS_MAX or (
        kind == "newPendingTransactions" and feed.count_listeners(pending=True) >= NODE_PENDING_MAX
    ):
        raise RpcError(LIMIT_EXCEEDED, "this node has as many such subscriptions as it can serve")
    key = hex(secrets.randbits(128) | 1 << 127)

    def push(result: JsonValue) -> None:
        session.send(encode_notification(key, result))

    if kind == "newHeads":
        end = feed.on_block(lambda full: push(format_header(full.block.header)))
    elif kind == "logs":
        logs = options if isinstance(options, LogFilter) else LogFilter()
        end_new = feed.on_block(lambda full: _push_logs(full, logs, push))
        end_gone = feed.on_withdrawn(lambda blocks: _push_removed(blocks, logs, push))

        def end() -> None:
            end_new()
            end_gone()

    elif kind == "newPendingTransactions":
        whole = options is True
        end = feed.on_pending(lambda news: _push_pending(news, push, whole=whole))
    elif kind == "syncing":
        end = feed.on_sync(lambda catching_up: push(_describe(context, catching_up)))
    else:
        raise invalid_params(
            f'no "{kind[:40]}" subscription in eth namespace: there are newHeads, logs, '
            "newPendingTransactions and syncing"
        )
    session.subscriptions[key] = end
    return key


@METHODS.method("eth_unsubscribe", Parameter("subscription id", parse_text))
def unsubscribe(context: Context, key: str) -> bool:
    end = _get_session(context).subscriptions.pop(key, None)
    if end is None:
        raise invalid_params("subscription not found")
    end()
    return True


def _get_session(context: Context) -> Session:
    if context.session is None:
        raise RpcError(METHOD_NOT_FOUND, "notifications not supported: subscribe over a WebSocket")
    return context.session


def _push_logs(full: Full, logs: LogFilter, push: Push) -> None:
    if may_match(full.block.header.bloom, logs):
        for log in select_logs(full, logs):
            push(log)


def _push_removed(blocks: list[Full], logs: LogFilter, push: Push) -> None:
    for full in reversed(blocks):
        for log in select_removed(full, logs):
            push(log)


def _push_pending(news: list[Transaction], push: Push, *, whole: bool) -> None:
    for transaction in news:
        push(format_transaction(transaction) if whole else "0x" + transaction.hash.hex())


def _describe(context: Context, catching_up: bool) -> Any:
    if not catching_up:
        return False
    return {"syncing": True, "status": context.node.describe_sync()}
