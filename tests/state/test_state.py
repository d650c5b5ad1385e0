"""Random lives of a state against a slow model: plain dicts, copied whole, and Ethereum's trie."""

import copy
from dataclasses import dataclass, field

import pytest
import rlp as oracle_rlp
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trie import HexaryTrie

from ledger.errors import StoreError
from ledger.state.account import EMPTY_CODE_HASH, Account
from ledger.state.state import (
    ACCOUNTS_KEPT_MAX,
    WORDS_KEPT_MAX,
    State,
    StateCache,
    StateChanges,
)
from ledger.trie.cache import NodeCache
from ledger.trie.proof import verify_proof
from ledger.trie.trie import EMPTY_ROOT
from tests.trie.nodes_in_memory import NodesInMemory, rebuilt

ADDRESSES = [bytes([number]) * 20 for number in range(1, 6)]
SLOTS = [number.to_bytes(32, "big") for number in range(6)]
SOURCES = [b"class A: pass", b"class B: pass", b""]

addresses = st.sampled_from(ADDRESSES)
slots = st.sampled_from(SLOTS)
words = st.one_of(st.sampled_from([0, 0, 1, 0x7F, 0x80, 2**256 - 1]), st.integers(0, 2**256 - 1))
amounts = st.sampled_from([0, 1, 10**18, 2**255])


@dataclass
class SlowAccount:
    nonce: int = 0
    balance: int = 0
    code: bytes = b""
    storage: dict[bytes, int] = field(default_factory=dict)


Model = dict[bytes, SlowAccount]


def secure(values: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {keccak(key): value for key, value in values.items()}


def storage_of(account: SlowAccount) -> dict[bytes, bytes]:
    return secure(
        {
            slot: oracle_rlp.encode(word.to_bytes(32, "big").lstrip(b"\0"))
            for slot, word in account.storage.items()
            if word
        }
    )


def oracle_root(values: dict[bytes, bytes]) -> bytes:
    trie = HexaryTrie({})
    for key, value in values.items():
        trie[key] = value
    return bytes(trie.root_hash)


def slow_commit(model: Model) -> tuple[bytes, dict[tuple[bytes, bytes], bytes]]:
    """The root and every node that a store must hold, worked out from nothing."""
    leaves: dict[bytes, bytes] = {}
    nodes: dict[tuple[bytes, bytes], bytes] = {}
    for address, account in model.items():
        storage = storage_of(account)
        fields = [account.nonce, account.balance, oracle_root(storage), keccak(account.code)]
        if fields != [0, 0, EMPTY_ROOT, EMPTY_CODE_HASH]:
            leaves[address] = oracle_rlp.encode(fields)
        nodes.update(rebuilt(storage, address)[1])
    leaves = secure(leaves)
    nodes.update(rebuilt(leaves)[1])
    return oracle_root(leaves), nodes


class StateLife(RuleBasedStateMachine):
    """Blocks of transactions, some reverted, on states that are committed, stored or dropped."""

    @initialize()
    def open(self) -> None:
        self.store = NodesInMemory()
        self.cache = StateCache()
        self.cache.nodes = NodeCache(3, 3)  # so small that nodes are read again and again
        self.state = State(self.store, EMPTY_ROOT, self.cache)
        self.model: Model = {address: SlowAccount() for address in ADDRESSES}
        self.stored = copy.deepcopy(self.model)
        self.waiting: list[StateChanges] = []
        self.marks: list[tuple[int, Model]] = []

    @rule(address=addresses, amount=amounts)
    def pay(self, address: bytes, amount: int) -> None:
        account = self.model[address]
        if account.balance + amount < 2**256:
            self.state.add_balance(address, amount)
            account.balance += amount

    @rule(address=addresses, is_all=st.booleans())
    def spend(self, address: bytes, is_all: bool) -> None:
        amount = self.model[address].balance if is_all else self.model[address].balance // 2
        self.state.sub_balance(address, amount)
        self.model[address].balance -= amount

    @rule(address=addresses, nonce=st.none() | st.integers(0, 2))
    def set_nonce(self, address: bytes, nonce: int | None) -> None:
        if nonce is None:
            self.state.increment_nonce(address)
            self.model[address].nonce += 1
        else:
            self.state.set_nonce(address, nonce)
            self.model[address].nonce = nonce

    @rule(address=addresses, source=st.sampled_from(SOURCES))
    def set_code(self, address: bytes, source: bytes) -> None:
        self.state.set_code(address, source)
        self.model[address].code = source

    @rule(address=addresses, slot=slots, word=words)
    def set_storage(self, address: bytes, slot: bytes, word: int) -> None:
        self.state.set_storage(address, slot, word)
        self.model[address].storage[slot] = word

    @rule(address=addresses, slot=slots)
    def get_storage(self, address: bytes, slot: bytes) -> None:
        assert self.state.get_storage(address, slot) == self.model[address].storage.get(slot, 0)

    @rule()
    def snapshot(self) -> None:
        self.marks.append((self.state.snapshot(), copy.deepcopy(self.model)))

    @precondition(lambda self: self.marks)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        depth = data.draw(st.integers(0, len(self.marks) - 1))
        mark, model = self.marks[depth]
        self.state.revert(mark)
        self.model = copy.deepcopy(model)
        del self.marks[depth:]

    @rule()
    def commit(self) -> None:
        """In memory: the state goes on as its own child, with nothing stored."""
        changes = self.state.commit()
        self.waiting.append(changes)
        self.marks.clear()
        assert changes.root == self.state.root == slow_commit(self.model)[0]

    @rule(is_shared=st.booleans())
    def store_and_go_on(self, is_shared: bool) -> None:
        """The store holds exactly the nodes of this state, and the next one starts from them."""
        self.commit()
        for changes in self.waiting:
            self.store.apply(changes.nodes)
            self.store.codes.update(changes.codes)
            self.cache.adopt(changes)
        self.waiting.clear()
        self.stored = copy.deepcopy(self.model)
        root, nodes = slow_commit(self.model)
        assert self.store.nodes == nodes
        self.state = State(self.store, root, self.cache if is_shared else None)

    @rule()
    def drop(self) -> None:
        """A proposal that was executed, committed in memory or not, and never decided."""
        self.model = copy.deepcopy(self.stored)
        self.waiting.clear()
        self.marks.clear()
        self.state = State(self.store, slow_commit(self.model)[0], self.cache)

    @rule(address=addresses, slot=slots)
    def prove(self, address: bytes, slot: bytes) -> None:
        self.commit()
        root, account = self.state.root, self.state.get_account(address)
        leaf = verify_proof(root, keccak(address), self.state.prove_account(address))
        if leaf is None:
            assert account == Account()
        else:
            assert oracle_rlp.decode(leaf)[2:] == [account.storage_root, account.code_hash]
        proof = self.state.prove_storage(address, slot)
        word = self.model[address].storage.get(slot, 0)
        expected = oracle_rlp.encode(word.to_bytes(32, "big").lstrip(b"\0")) if word else None
        assert verify_proof(account.storage_root, keccak(slot), proof) == expected

    @invariant()
    def reads_agree(self) -> None:
        for address, slow in self.model.items():
            assert self.state.get_nonce(address) == slow.nonce
            assert self.state.get_balance(address) == slow.balance
            assert self.state.get_code_hash(address) == keccak(slow.code)
            assert self.state.get_code(address) == slow.code
            if slow.nonce or slow.balance or slow.code:
                assert self.state.exists(address)


TestStateLife = StateLife.TestCase


writes = st.lists(
    st.one_of(
        st.tuples(st.just("set_balance"), addresses, amounts),
        st.tuples(st.just("set_nonce"), addresses, st.integers(0, 3)),
        st.tuples(st.just("set_code"), addresses, st.sampled_from(SOURCES)),
        st.tuples(st.just("set_storage"), addresses, slots, words),
        st.tuples(st.just("get_storage"), addresses, slots),
    ),
    max_size=12,
)


@given(writes, writes, writes)
def test_revert_restores_the_root(
    stored: list[tuple[str, ...]], kept: list[tuple[str, ...]], undone: list[tuple[str, ...]]
) -> None:
    """Over accounts and words that are in the store and were not read yet, and over new ones."""
    store = NodesInMemory()
    parent = State(store)
    run(parent, stored)
    changes = parent.commit()
    store.apply(changes.nodes)
    store.codes.update(changes.codes)
    plain, reverted = State(store, changes.root), State(store, changes.root)
    run(plain, kept)
    run(reverted, kept)
    mark = reverted.snapshot()
    run(reverted, undone)
    reverted.revert(mark)

    for address in ADDRESSES:
        assert reverted.get_account(address) == plain.get_account(address)
        assert reverted.get_code(address) == plain.get_code(address)
        for slot in SLOTS:
            assert reverted.get_storage(address, slot) == plain.get_storage(address, slot)
    expected, got = plain.commit(), reverted.commit()
    assert (got.root, got.nodes) == (expected.root, expected.nodes)


def run(state: State, calls: list[tuple[str, ...]]) -> None:
    for name, *arguments in calls:
        getattr(state, name)(*arguments)


def test_an_account_that_was_touched_and_stayed_empty_is_not_there() -> None:
    state = State(NodesInMemory())
    state.add_balance(ADDRESSES[0], 0)
    state.set_code(ADDRESSES[1], b"")

    assert not state.exists(ADDRESSES[0])
    assert state.commit() == StateChanges(EMPTY_ROOT, {}, {})


def test_a_reverted_creation_leaves_no_code_behind() -> None:
    state = State(NodesInMemory())
    mark = state.snapshot()
    state.set_code(ADDRESSES[0], SOURCES[0])
    state.set_storage(ADDRESSES[0], SLOTS[0], 5)
    state.revert(mark)

    assert state.commit() == StateChanges(EMPTY_ROOT, {}, {})
    assert state.get_storage(ADDRESSES[0], SLOTS[0]) == 0


def test_two_proposals_on_one_head_do_not_see_each_other() -> None:
    store, cache = NodesInMemory(), StateCache()
    parent = State(store, EMPTY_ROOT, cache)
    for number in range(200):
        parent.set_storage(ADDRESSES[0], number.to_bytes(32, "big"), number + 1)
    head = parent.commit()
    store.apply(head.nodes)
    first, second = (State(store, head.root, cache) for _ in range(2))
    first.set_storage(ADDRESSES[0], SLOTS[0], 111)
    lost = first.commit()
    second.set_storage(ADDRESSES[0], SLOTS[1], 222)
    won = second.commit()
    store.apply(won.nodes)
    assert won.superseded
    cache.adopt(won)
    assert not won.superseded, "what a block replaced is held until the next flush"

    after = State(store, won.root, cache)
    assert lost.root != won.root
    assert [after.get_storage(ADDRESSES[0], slot) for slot in SLOTS[:3]] == [1, 222, 3]
    with pytest.raises(StoreError, match="not the one this state has"):
        State(store, lost.root).get_storage(ADDRESSES[0], SLOTS[0])


def test_a_past_state_is_read_through_its_own_reader() -> None:
    store, cache = NodesInMemory(), StateCache()
    roots, readers = [], []
    for height in range(5):
        state = State(store, roots[-1] if roots else EMPTY_ROOT, cache)
        state.set_storage(ADDRESSES[0], SLOTS[0], height + 1)
        changes = state.commit()
        store.apply(changes.nodes)
        cache.adopt(changes)
        roots.append(changes.root)
        readers.append(NodesInMemory(store.nodes))

    for height, (root, reader) in enumerate(zip(roots, readers, strict=True)):
        for shared in (None, cache):
            state = State(reader, root, shared)
            assert state.get_storage(ADDRESSES[0], SLOTS[0]) == height + 1


def test_what_was_read_of_the_head_follows_the_head() -> None:
    store, cache = NodesInMemory(), StateCache()

    def extend(root: bytes, value: int) -> StateChanges:
        state = State(store, root, cache)
        state.get_storage(ADDRESSES[0], SLOTS[0])
        state.set_storage(ADDRESSES[0], SLOTS[0], value)
        state.set_balance(ADDRESSES[1], value)
        return state.commit()

    def adopt(changes: StateChanges) -> None:
        store.apply(changes.nodes)
        cache.adopt(changes)

    def read(root: bytes) -> tuple[int, int]:
        state = State(store, root, cache)
        return state.get_storage(ADDRESSES[0], SLOTS[0]), state.get_balance(ADDRESSES[1])

    first = extend(EMPTY_ROOT, 1)
    adopt(first)
    assert read(first.root) == (1, 1)
    second, third = extend(first.root, 2), extend(first.root, 3)
    adopt(second)
    assert read(second.root) == (2, 2)
    store.apply(third.nodes)
    cache.adopt(third)  # not on what was adopted last: another chain of states
    assert read(third.root) == (3, 3)
    other = State(NodesInMemory())
    other.set_balance(ADDRESSES[2], 7)
    adopt(other.commit())
    assert read(cache.root or b"") == (0, 0)


def test_what_is_kept_of_the_head_is_bounded() -> None:
    state, cache = State(NodesInMemory()), StateCache()
    for number in range(WORDS_KEPT_MAX + 2):
        state.set_storage(ADDRESSES[0], number.to_bytes(32, "big"), 1)
    for number in range(ACCOUNTS_KEPT_MAX + 2):
        state.set_balance(number.to_bytes(20, "big"), 1)

    cache.adopt(state.commit())

    assert 0 < len(cache.words) <= WORDS_KEPT_MAX
    assert 0 < len(cache.accounts) <= ACCOUNTS_KEPT_MAX


def test_missing_code_is_named() -> None:
    state = State(NodesInMemory())
    state.set_code(ADDRESSES[0], SOURCES[0])
    changes = state.commit()
    store = NodesInMemory()
    store.apply(changes.nodes)

    with pytest.raises(StoreError, match=keccak(SOURCES[0]).hex()):
        State(store, changes.root).get_code(ADDRESSES[0])


def test_misuse_fails_an_assertion() -> None:
    state = State(NodesInMemory())
    state.set_balance(ADDRESSES[0], 5)
    mark = state.snapshot()
    state.commit()
    with pytest.raises(AssertionError):
        state.revert(mark - 1)
    for misuse in (
        lambda: state.sub_balance(ADDRESSES[0], 6),
        lambda: state.set_storage(ADDRESSES[0], SLOTS[0], 2**256),
        lambda: state.set_storage(ADDRESSES[0], SLOTS[0], -1),
        lambda: state.add_balance(ADDRESSES[0], 2**256),
        lambda: state.revert(mark + 1),
    ):
        with pytest.raises(AssertionError):
            misuse()


def test_a_block_reads_each_slot_once() -> None:
    store = NodesInMemory()
    state = State(store)
    for number in range(300):
        state.set_storage(ADDRESSES[0], number.to_bytes(32, "big"), 1)
    changes = state.commit()
    store.apply(changes.nodes)
    state = State(store, changes.root)
    state.get_storage(ADDRESSES[0], SLOTS[0])
    reads = store.reads
    for _ in range(10):
        state.get_storage(ADDRESSES[0], SLOTS[0])

    assert reads <= 5
    assert store.reads == reads
