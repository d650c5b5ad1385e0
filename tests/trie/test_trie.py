"""Random lives of a trie: against a dict, Ethereum's own trie, and the same trie built anew."""

import pytest
import rlp as oracle_rlp
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trie import HexaryTrie

from ledger.errors import StoreError
from ledger.trie.cache import NodeCache
from ledger.trie.nodes import decode_node, encode_node
from ledger.trie.ordered import ordered_root
from ledger.trie.proof import verify_proof
from ledger.trie.trie import EMPTY_ROOT, Trie
from tests.trie.nodes_in_memory import NodesInMemory, rebuilt

# Few nibbles and short keys make branches meet, merge and vanish; some keys are prefixes of others.
short_keys = st.binary(max_size=4).map(lambda key: bytes(byte & 0x13 for byte in key))
# The shape of a secure trie, with prefixes so long that leaves shrink below 32 bytes.
long_keys = st.builds(
    lambda shared, rest: (bytes(shared) + rest * 8)[:32],
    st.sampled_from([0, 1, 15, 24, 28, 29, 30, 31]),
    st.binary(min_size=4, max_size=4),
)
values = st.one_of(
    st.binary(min_size=1, max_size=2),
    st.sampled_from([b"\x01", b"v" * 20, b"v" * 31, b"v" * 32, b"v" * 33, b"v" * 60, b"v" * 300]),
)


def oracle_root(model: dict[bytes, bytes]) -> bytes:
    trie = HexaryTrie({})
    for key, value in model.items():
        trie[key] = value
    return bytes(trie.root_hash)


class TrieLife(RuleBasedStateMachine):
    """One trie over a store, committed, discarded and reopened at will.

    All states share one cache so small that nodes are read again and again.
    """

    keys = short_keys

    @initialize(top=st.integers(1, 4), rest=st.integers(1, 4))
    def open(self, top: int, rest: int) -> None:
        self.cache = NodeCache(top, rest)
        self.store = NodesInMemory()
        self.model: dict[bytes, bytes] = {}
        self.stored: dict[bytes, bytes] = {}
        self.trie = Trie(self.store, b"", EMPTY_ROOT, self.cache)

    @rule(data=st.data(), value=values)
    def set(self, data: st.DataObject, value: bytes) -> None:
        key = data.draw(self.keys)
        self.trie.set(key, value)
        self.model[key] = value

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.trie.set(key, b"")
        del self.model[key]

    @rule(data=st.data())
    def delete_what_may_be_absent(self, data: st.DataObject) -> None:
        key = data.draw(self.keys)
        self.trie.set(key, b"")
        self.model.pop(key, None)

    @rule(keep=st.booleans())
    def commit(self, keep: bool) -> None:
        """The nodes stored are exactly those of the same trie built anew: none is stale."""
        root, changes = self.trie.commit()
        self.store.apply(changes)
        self.stored = dict(self.model)
        assert root == oracle_root(self.model)
        assert (root, self.store.nodes) == rebuilt(self.model)
        self.cache.drop(self.trie.superseded)
        if not keep:
            self.trie = Trie(self.store, b"", root, self.cache)

    @rule()
    def commit_twice_and_store_once(self) -> None:
        """A trie goes on from what it committed, stored or not."""
        first = self.trie.commit()[1]
        assert self.trie.commit() == (self.trie.root, {})
        for key, value in self.model.items():
            assert self.trie.get(key) == value
        self.store.apply(first)
        self.stored = dict(self.model)

    @rule(is_executed=st.booleans())
    def discard(self, is_executed: bool) -> None:
        """A state that was executed, and perhaps committed in memory, is dropped."""
        if is_executed:
            self.trie.commit()
        root = rebuilt(self.stored)[0]
        assert root == oracle_root(self.stored)
        self.model = dict(self.stored)
        self.trie = Trie(self.store, b"", root, self.cache)

    @rule(data=st.data())
    def prove(self, data: st.DataObject) -> None:
        key = data.draw(self.keys)
        proof = self.trie.prove(key)
        committed = verify_proof(self.trie.root, key, proof)
        nodes = [oracle_rlp.decode(raw) for raw in proof]
        assert HexaryTrie.get_from_proof(self.trie.root, key, nodes) == (committed or b"")
        for raw in proof:
            assert encode_node(decode_node(raw)) == raw

    @invariant()
    def reads_agree(self) -> None:
        for key in [*self.model, b"", b"\x01\x02", bytes(32)]:
            assert self.trie.get(key) == self.model.get(key)


class SecureTrieLife(TrieLife):
    keys = long_keys


TestTrieLife = TrieLife.TestCase
TestSecureTrieLife = SecureTrieLife.TestCase


@given(st.dictionaries(st.binary(min_size=32, max_size=32), values, min_size=1, max_size=200))
def test_one_batch_and_many_give_the_same(model: dict[bytes, bytes]) -> None:
    store = NodesInMemory()
    trie = Trie(store)
    for key, value in model.items():
        trie.set(key, value)
        store.apply(trie.commit()[1])

    assert (trie.root, store.nodes) == rebuilt(model)
    assert trie.root == oracle_root(model)

    for key in sorted(model):
        trie.set(key, b"")
        store.apply(trie.commit()[1])

    assert (trie.root, store.nodes) == (EMPTY_ROOT, {})


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=300))
def test_ordered_root(items: list[bytes]) -> None:
    model = {oracle_rlp.encode(index): item for index, item in enumerate(items)}
    assert ordered_root(items) == oracle_root(model)


def test_a_large_trie_hashes_every_touched_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = NodesInMemory()
    model = {keccak(bytes([i >> 8, i & 255])): b"x" * 40 for i in range(5_000)}
    root, store.nodes = rebuilt(model)
    trie = Trie(store, b"", root)
    for key in list(model)[:300]:
        trie.get(key)
        trie.set(key, b"y" * 40 if key[0] % 3 else b"")
    hashed: list[bytes] = []
    monkeypatch.setattr(
        "ledger.trie.batch.keccak256", lambda raw: hashed.append(raw) or keccak(raw)
    )
    _, changes = trie.commit()

    assert len(hashed) == len(set(hashed)) == sum(raw is not None for raw in changes.values())


def test_a_missing_node_is_named() -> None:
    model = {keccak(bytes([i])): b"x" * 40 for i in range(100)}
    root, nodes = rebuilt(model, b"\xaa" * 20)
    key = next(iter(model))
    path = bytes([key[0] >> 4])
    del nodes[b"\xaa" * 20, path]
    trie = Trie(NodesInMemory(nodes), b"\xaa" * 20, root)

    with pytest.raises(
        StoreError, match=rf"0x(aa){{20}}: the node at path '{path.hex()[1]}'.*missing"
    ):
        trie.get(key)
    trie.set(key, b"y")
    with pytest.raises(StoreError, match="missing"):
        trie.commit()


def test_a_node_of_another_state_is_refused() -> None:
    """The store holds the newest nodes only: a reader of an old root must not mix them in."""
    model = {keccak(bytes([i])): b"x" * 40 for i in range(100)}
    root = rebuilt(model)[0]
    _, newer = rebuilt({**model, next(iter(model)): b"y"})

    with pytest.raises(StoreError, match=r"account trie: the node at path ''.*not the one"):
        Trie(NodesInMemory(newer), b"", root).get(next(iter(model)))


def test_the_top_stays_in_memory_and_the_cache_is_bounded() -> None:
    model = {keccak(i.to_bytes(2, "big")): b"x" * 40 for i in range(20_000)}
    store = NodesInMemory()
    root, store.nodes = rebuilt(model)
    cache = NodeCache(top_nodes_max=6_144, rest_max=100)
    for key in list(model):
        Trie(store, b"", root, cache).get(key)
    store.reads = 0
    for key in list(model)[:1_000]:
        Trie(store, b"", root, cache).get(key)

    assert store.reads <= 2_000  # one branch at most below the top, and the leaf
    assert len(cache.rest.young) + len(cache.rest.old) <= 200


def test_the_cache_holds_nothing_of_the_past() -> None:
    cache, store, root = NodeCache(), NodesInMemory(), EMPTY_ROOT
    for height in range(50):
        trie = Trie(store, b"", root, cache)
        for number in range(300):
            trie.set(keccak(number.to_bytes(2, "big")), bytes([height + 1]) * 40)
        root, changes = trie.commit()
        store.apply(changes)
        cache.drop(trie.superseded)

    assert len(cache.top.young) + len(cache.rest.young) == len(store.nodes)
    assert not cache.top.old
    assert not cache.rest.old
