"""Filters without a node: their bounds, their end, and how they outlive a restart."""

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.transaction import sign_transaction
from node.errors import NodeError
from node.feed import Feed
from node.log import Log
from node.rpc import filters as module
from node.rpc import subscriptions
from node.rpc.context import Context
from node.rpc.errors import RpcError
from node.rpc.filters import Filter, Filters
from node.rpc.parameters import BlockTag, LogFilter
from node.rpc.session import Session

DAY_S = 86_400


def test_the_filter_nobody_polls_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILTERS_MAX", 3)
    kept = Filters(DAY_S)
    keys = [kept.add(Filter("blocks", number)) for number in range(3)]
    assert kept.poll(keys[0]) is not None
    kept.add(Filter("blocks", 3))
    assert kept.poll(keys[1]) is None  # it was polled longest ago
    assert kept.poll(keys[0]) is not None
    assert len(kept) == 3


def test_a_filter_ends_after_its_time() -> None:
    kept = Filters(100)
    old, new = kept.add(Filter("blocks", 1)), kept.add(Filter("blocks", 2))
    found = kept.poll(old)
    assert found is not None
    kept.poll(new)
    found.polled_at_s -= 101
    assert kept.poll(old) is None
    assert kept.poll(new) is not None


def test_waiting_transactions_are_held_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_FILTERS_MAX", 2)
    kept = Filters(DAY_S)
    keys = [kept.add(Filter("pending", 0)) for _ in range(3)]
    assert kept.poll(keys[0]) is None
    made = sign_transaction(b"\1" * 32, chain_id=1, nonce=0, to=None, gas=1, gas_price=0)
    for _ in range(3):
        kept.hear_pending([made] * module.PENDING_KEPT_MAX)
    found = kept.poll(keys[1])
    assert found is not None
    assert len(found.pending) == module.PENDING_KEPT_MAX


def test_filters_outlive_a_restart() -> None:
    kept = Filters(DAY_S)
    logs = LogFilter(
        addresses=(b"\1" * 20,), topics=((b"\2" * 32,), ()), to_block=BlockTag(height=9)
    )
    key = kept.add(Filter("logs", 7, logs))
    blocks = kept.add(Filter("blocks", 3))
    pending = kept.add(Filter("pending", 0))
    again = Filters(DAY_S)
    again.load(kept.dump())
    found = again.poll(key)
    assert found is not None
    assert (found.kind, found.next_height, found.logs) == ("logs", 7, logs)
    assert again.poll(blocks) is not None
    assert again.poll(pending) is None  # its transactions are gone
    with pytest.raises(NodeError, match="saved filters"):
        again.load(b"\xc1")
    with pytest.raises(NodeError, match="saved filters"):
        again.load(b"\x93\x01\x02\x03")


def test_a_line_of_the_log_reads_as_one_line() -> None:
    stream = StringIO()
    log = Log("info", stream)
    log.debug("room", "not at this level")
    log.info("room", "words", key=b"\1\2", text="two words", line="a\nb", quote='"', none=None)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.endswith(
        ' info  room      words key=0x0102 text="two words" line="a b" quote="\'" none=None\n'
    )


def test_what_repeats_is_said_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StringIO()
    log = Log("info", stream)
    now = [100.0]
    monkeypatch.setattr("node.log.time.monotonic", lambda: now[0])
    for _ in range(50):
        log.seldom("room", "again")
    now[0] += 61
    log.seldom("room", "again")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("again repeated=49")


def test_a_bug_is_said_with_its_place() -> None:
    stream = StringIO()
    try:
        raise KeyError("x")
    except KeyError as error:
        Log("debug", stream).bug("room", error, method="m")
    text = stream.getvalue()
    assert "internal error: KeyError: 'x' at=test_filters.py:" in text
    assert "method=m" in text
    assert "Traceback" in text  # at debug only


def test_all_clients_together_have_bounded_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred each on a thousand connections would be 2 s of the loop for every block."""
    monkeypatch.setattr(subscriptions, "NODE_SUBSCRIPTIONS_MAX", 12)
    monkeypatch.setattr(subscriptions, "NODE_PENDING_MAX", 3)
    node: Any = SimpleNamespace(feed=Feed(Log(stream=StringIO())))
    sessions = [Session() for _ in range(5)]
    for session in sessions[:3]:
        subscriptions.subscribe(Context(node, session), "newPendingTransactions", True)
    with pytest.raises(RpcError, match="as many such subscriptions"):
        subscriptions.subscribe(Context(node, sessions[3]), "newPendingTransactions", None)
    for _ in range(9):
        subscriptions.subscribe(Context(node, sessions[3]), "newHeads", None)
    with pytest.raises(RpcError, match="as many such subscriptions"):
        subscriptions.subscribe(Context(node, sessions[4]), "logs", None)
    sessions[3].close()
    subscriptions.subscribe(Context(node, sessions[4]), "logs", None)
