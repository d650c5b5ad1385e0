"""Nodes are found where they are now: seen, told of, announced; never believed, only dialled."""

import asyncio
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from ledger.store.memory import MemoryStore
from node.log import Log
from node.peers import addresses, network
from node.peers.addresses import NODES_MAX, AddressBook, Endpoint
from node.peers.discovery import Discovery
from tests.node.toy_nodes import ADDRESSES, Node, play, until

A, B, C = ADDRESSES[:3]
LOG = Log(stream=StringIO())


def test_the_file_comes_first_then_what_is_newest() -> None:
    book = AddressBook((Endpoint("a", A, "10.0.0.1", 5),))
    assert book.find(A) == [("10.0.0.1", 5)]
    assert not book.note(A, "10.0.0.1", 5)
    for last in range(2, 9):
        assert book.note(A, f"10.0.0.{last}", 5)
    assert book.find(A) == [(f"10.0.0.{last}", 5) for last in (1, 8, 7, 6)]
    assert book.note(B, "10.0.0.9", 6)
    assert book.find(B) == [("10.0.0.9", 6)]
    assert book.name_of(A) == "a"
    assert book.name_of(B) == ""


def test_who_comes_from_another_host_is_remembered_there_with_the_port_of_the_file() -> None:
    book = AddressBook((Endpoint("a", A, "10.0.0.1", 5),))
    assert not book.note_inbound(A, "10.0.0.1")
    assert book.note_inbound(A, "10.0.0.77")
    assert book.find(A)[1] == ("10.0.0.77", 5)
    assert not book.note_inbound(B, "10.0.0.78")  # its port is not known


def test_the_book_is_bounded() -> None:
    book = AddressBook(())
    for number in range(NODES_MAX + 10):
        book.note(number.to_bytes(20, "big"), "10.0.0.1", 5)
    assert len(book._learned) == NODES_MAX


def test_what_answers_here_alone_is_told_to_nobody_elsewhere() -> None:
    book = AddressBook((Endpoint("a", A, "127.0.0.1", 5), Endpoint("b", B, "pi.local", 5)))
    assert book.tell("10.0.0.4") == [[B, "pi.local", 5]]
    assert sorted(book.tell("127.0.0.1")) == sorted([[A, "127.0.0.1", 5], [B, "pi.local", 5]])
    assert addresses.is_loopback("localhost")
    assert not addresses.is_loopback("pi.local")


def test_a_node_that_moved_is_reached_where_another_saw_it(tmp_path: Path) -> None:
    """c knows only a, which knows where b is now; b is in c's file under an address long gone."""

    async def story() -> None:
        a, b, c = (Node(tmp_path, number) for number in range(3))
        await b.start()
        moved = Node(tmp_path, 1)
        moved.port = 1  # where b was, and nobody is
        await a.start(b)
        for node in (a, c):
            real = node.host

            async def receive(
                peer: Any, kind: Any, fields: Any, host: Any = real, n: Any = node
            ) -> None:
                if kind is network.Kind.ADDRESSES:
                    for address, place, port in fields[0]:
                        n.network.learn(address, place, port)

            node.host.receive = receive  # type: ignore[method-assign, assignment]
        await until(lambda: a.network.peers)
        await c.start(a, moved)
        await until(lambda: b.address in c.network.peers)
        assert ("127.0.0.1", b.port) in c.network.addresses.find(b.address)
        for node in (a, b, c):
            await node.stop()

    play(story)


def test_where_a_node_proved_its_key_is_kept_and_nothing_else() -> None:
    book = AddressBook((Endpoint("a", A, "10.0.0.1", 5),))
    book.note(B, "10.0.0.9", 6)
    assert not book.changed  # told by others: anybody can say so
    book.note_proved(A, "10.0.0.1", 5)
    assert not book.changed  # the file says it
    book.note_inbound(A, "10.0.0.7")
    book.note_proved(C, "10.0.0.8", 7)
    assert book.changed
    kept = book.dump()
    assert not book.changed
    assert AddressBook(()).load(kept) == [(A, "10.0.0.7", 5), (C, "10.0.0.8", 7)]
    book.note_proved(A, "10.0.0.1", 5)  # it is back where the file says
    book.note_proved(C, "10.0.0.18", 7)  # a router gave it another address
    assert book.changed
    assert AddressBook(()).load(book.dump()) == [(C, "10.0.0.18", 7)]
    for number in range(NODES_MAX + 10):
        book.note_proved(number.to_bytes(20, "big"), "10.0.0.1", 5)
    assert len(book.load(book.dump())) == NODES_MAX


def test_a_node_that_is_in_no_file_is_found_again_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        store = MemoryStore()
        a, b = Node(tmp_path, 0), Node(tmp_path, 1)
        await b.start()
        await a.start(store=store)
        a.network.learn(b.address, "127.0.0.1", b.port)
        await until(lambda: a.network.peers)
        await a.stop()
        await a.start(store=store)
        await until(lambda: a.network.peers)
        # At another port from now on: told of it, it is learned anew.
        await b.stop()
        await b.start()
        a.network.learn(b.address, "127.0.0.1", b.port)
        await until(lambda: b.network.peers)
        await a.stop()
        await a.start(store=store)
        await until(lambda: a.network.peers)
        assert ("127.0.0.1", b.port) in a.network.addresses.find(b.address)
        await a.stop()
        await b.stop()

    play(story)


def test_a_node_from_ever_new_hosts_is_written_down_seldom(tmp_path: Path) -> None:
    async def story() -> None:
        store = MemoryStore()
        a = Node(tmp_path, 0)
        await a.start(store=store)
        written: list[bytes] = []
        store.set_meta = lambda key, value: written.append(value)  # type: ignore[method-assign]
        for last in range(9):
            a.network.addresses.note_proved(B, f"10.0.0.{last}", 5)
            a.network._keep_places()
        assert len(written) == 1
        await a.stop()
        assert AddressBook(()).load(written[-1]) == [(B, "10.0.0.8", 5)]

    play(story)


def test_only_allowed_nodes_are_dialled_and_never_ourselves(tmp_path: Path) -> None:
    async def story() -> None:
        a = Node(tmp_path, 0)
        a.host.allowed.discard(B)
        await a.start()
        tasks = len(a.network._tasks)
        a.network.learn(B, "10.0.0.1", 5)
        a.network.learn(a.address, "10.0.0.1", 5)
        assert a.network.addresses.find(B) == []
        assert len(a.network._tasks) == tasks
        a.host.allowed.add(B)
        for _ in range(3):
            a.network.learn(B, "10.0.0.1", 5)
        assert len(a.network._tasks) == tasks + 1
        await a.stop()

    play(story)


def test_an_announcement_is_of_our_network_and_of_somebody_else() -> None:
    heard: list[Any] = []
    found = Discovery(b"\1" * 32, A, 5, lambda *one: heard.append(one), LOG)
    ours = {b"genesis": (b"\1" * 32).hex().encode(), b"node": B.hex().encode()}
    found.take(ours, ["10.0.0.1", "10.0.0.2"], 7)
    assert heard == [(B, "10.0.0.1", 7), (B, "10.0.0.2", 7)]
    heard.clear()
    for wrong in (
        ours | {b"genesis": b"00"},
        ours | {b"node": A.hex().encode()},
        ours | {b"node": b"zz"},
        ours | {b"node": None},
        {},
    ):
        found.take(wrong, ["10.0.0.1"], 7)
    found.take(ours, ["10.0.0.1"], None)
    assert heard == []
    found.take(ours, [f"10.0.0.{n}" for n in range(100)], 7)
    assert len(heard) == 4


def test_two_nodes_find_each_other_by_multicast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.peers.discovery.find_own_hosts", lambda: ["127.0.0.1"])
    heard: dict[bytes, list[Any]] = {A: [], B: []}

    async def story() -> None:
        tasks = [
            asyncio.create_task(
                Discovery(
                    b"\1" * 32, own, port, lambda *one, to=own: heard[to].append(one), LOG
                ).run()
            )
            for own, port in ((A, 5_001), (B, 5_002))
        ]
        try:
            await until(lambda: heard[A] and heard[B], 10)
        except AssertionError:
            pytest.skip("this machine passes no multicast on its loopback")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert (B, "127.0.0.1", 5_002) in heard[A]
        assert (A, "127.0.0.1", 5_001) in heard[B]

    asyncio.run(story())
