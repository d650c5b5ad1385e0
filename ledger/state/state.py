"""Accounts and contract storage as of one block, with everything a transaction may undo.

Reads go through to the tries once and are kept; writes stay here, journalled, until `commit` gives
the tries all of them together. A state belongs to one block: the next one's is made from the new
root, the same cache and a reader that has the changes. Not here: what a transaction means, who
stores nodes. Sources: Yellow Paper section 4.1, EIP-161 (no empty account is ever kept).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from ledger.crypto.keccak import keccak256
from ledger.errors import StoreError
from ledger.state.account import EMPTY_CODE_HASH, Account, decode_account, encode_account, is_empty
from ledger.trie.batch import Changes
from ledger.trie.cache import NodeCache
from ledger.trie.nodes import Fragment, Path
from ledger.trie.trie import EMPTY_ROOT, Trie
from ledger.types import Address, Hash32, Slot, Word

WORD_MAX = 2**256 - 1
HASHED_KEYS_MAX = 16_384  # addresses and slots of a dozen blocks; about 250 bytes each
WORDS_KEPT_MAX = 8_192  # of the head, and one block's: of 1,000 meters and more; 300 bytes each
ACCOUNTS_KEPT_MAX = 4_096  # of the head; about 300 bytes each

# The tries know addresses and slots by their hash; the same ones come back block after block.
hash_key = lru_cache(maxsize=HASHED_KEYS_MAX)(keccak256)


class StateReader(Protocol):
    """What a state is read from: nodes and codes as of its root."""

    def get_node(self, trie: bytes, path: Path) -> bytes | None: ...

    def get_code(self, code_hash: Hash32) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class StateChanges:
    """What a commit did. The fields that are not compared are for the cache alone."""

    root: Hash32
    nodes: Changes
    codes: dict[Hash32, bytes]
    superseded: list[Fragment] = field(default_factory=list, compare=False)
    parent: Hash32 = field(default=EMPTY_ROOT, compare=False)
    values: "list[tuple[Address, Account, dict[Slot, Word]]]" = field(
        default_factory=list, compare=False
    )
    """Each account changed, and the words written in it."""


class StateCache:
    """Shared by the states of one chain: decoded trie nodes, and what was read of the head.

    `accounts` and `words` are as of `root`, the last one adopted. A meter's account and words come
    again block after block, and a walk down the tries for each took a sixth of an execution.
    """

    __slots__ = ("_words", "accounts", "nodes", "root", "words")

    def __init__(self) -> None:
        self.nodes = NodeCache()
        self.root: Hash32 | None = None
        self.accounts: dict[Address, Account] = {}
        self.words: dict[Address, dict[Slot, Word]] = {}
        self._words = 0  # in all of them

    def adopt(self, changes: StateChanges) -> None:
        """These changes are the head now: let go of what they replaced, once."""
        self.nodes.drop(changes.superseded)
        if self.root != changes.parent:
            self.accounts.clear()
            self.words.clear()
            self._words = 0
        self.root = changes.root
        for address, account, words in changes.values:
            self.keep_account(address, account)
            if words:
                self.keep_words(address, words)
        changes.superseded.clear()  # a layer is held until the next flush, and these are many
        changes.values.clear()

    def keep_account(self, address: Address, account: Account) -> None:
        """An account of the state under `root`; when there are too many, begin anew."""
        if len(self.accounts) >= ACCOUNTS_KEPT_MAX:
            self.accounts.clear()
        self.accounts[address] = account

    def keep_words(self, address: Address, words: dict[Slot, Word]) -> None:
        """Words of the state under `root`; when there are too many, begin anew with these."""
        if self._words + len(words) > WORDS_KEPT_MAX:
            self.words.clear()
            self._words = 0
        kept = self.words.setdefault(address, {})
        self._words -= len(kept)
        kept.update(words)
        self._words += len(kept)


class _Entry:
    """An account in use: its fields, the words read or written, its storage trie once needed."""

    __slots__ = ("balance", "code_hash", "nonce", "storage", "storage_root", "words", "written")

    def __init__(self, account: Account) -> None:
        self.nonce = account.nonce
        self.balance = account.balance
        self.code_hash = account.code_hash
        self.storage_root = account.storage_root
        self.storage: Trie | None = None
        self.words: dict[Slot, Word] = {}
        self.written: dict[Slot, None] = {}  # in order, so that every node commits alike

    def account(self) -> Account:
        return Account(self.nonce, self.balance, self.storage_root, self.code_hash)


_Undo = tuple[_Entry, Slot, Word | None] | tuple[_Entry, int, int, Hash32]
"""A word before a write (None: not yet read), or nonce, balance and code hash before one."""


class State:
    """The state under `root`. Every read raises StoreError where a node or code is missing.

    Amounts are in wei. A nonce, balance or word out of range, or a snapshot of before the last
    commit, is a bug of the caller's and fails an assertion.
    """

    __slots__ = (
        "_accounts", "_base", "_cache", "_codes", "_dirty", "_entries", "_forgotten", "_journal",
        "_reader",
    )  # fmt: skip

    def __init__(
        self, reader: StateReader, root: Hash32 = EMPTY_ROOT, cache: StateCache | None = None
    ) -> None:
        self._reader = reader
        self._cache = cache if cache is not None else StateCache()
        self._base = root
        self._accounts = Trie(reader, b"", root, self._cache.nodes)
        self._entries: dict[Address, _Entry] = {}
        self._dirty: dict[Address, None] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._journal: list[_Undo] = []
        self._forgotten = 0  # entries of the journal that commits made final

    @property
    def root(self) -> Hash32:
        """The root as of the last commit."""
        return self._accounts.root

    # Accounts.

    def get_account(self, address: Address) -> Account:
        """All its fields; the storage root is as of the last commit."""
        return self._entry(address).account()

    def exists(self, address: Address) -> bool:
        """Whether the account is there, which is that it is not empty."""
        return not is_empty(self.get_account(address))

    def get_nonce(self, address: Address) -> int:
        return self._entry(address).nonce

    def get_balance(self, address: Address) -> int:
        return self._entry(address).balance

    def get_code_hash(self, address: Address) -> Hash32:
        return self._entry(address).code_hash

    def get_code(self, address: Address) -> bytes:
        """The contract's source; empty for an account without."""
        code_hash = self._entry(address).code_hash
        if code_hash == EMPTY_CODE_HASH:
            return b""
        code = self.find_code(code_hash)
        if code is None:
            raise StoreError(
                f"the code 0x{code_hash.hex()} of 0x{address.hex()} is missing; "
                "restore the data folder or sync anew"
            )
        return code

    def find_code(self, code_hash: Hash32) -> bytes | None:
        """A source that stands or once stood at an address; None where this node never had it."""
        code = self._codes.get(code_hash)
        return self._reader.get_code(code_hash) if code is None else code

    def set_nonce(self, address: Address, nonce: int) -> None:
        assert nonce >= 0
        self._changing(address).nonce = nonce

    def increment_nonce(self, address: Address) -> None:
        self._changing(address).nonce += 1

    def set_balance(self, address: Address, balance: int) -> None:
        assert 0 <= balance <= WORD_MAX
        self._changing(address).balance = balance

    def add_balance(self, address: Address, amount: int) -> None:
        self.set_balance(address, self.get_balance(address) + amount)

    def sub_balance(self, address: Address, amount: int) -> None:
        """The caller has checked that so much is there."""
        self.set_balance(address, self.get_balance(address) - amount)

    def set_code(self, address: Address, source: bytes) -> None:
        code_hash = keccak256(source)
        if source:
            self._codes[code_hash] = source
        self._changing(address).code_hash = code_hash

    # Storage.

    def get_storage(self, address: Address, slot: Slot) -> Word:
        """The word in a slot; 0 where nothing was written."""
        entry = self._entries.get(address) or self._entry(address)
        word = entry.words.get(slot)
        if word is None:
            word = entry.words[slot] = self._load_word(address, slot)
        return word

    def set_storage(self, address: Address, slot: Slot, word: Word) -> None:
        """Write a word; 0 deletes the leaf."""
        assert 0 <= word <= WORD_MAX
        entry = self._entries.get(address) or self._entry(address)
        self._journal.append((entry, slot, entry.words.get(slot)))
        entry.words[slot] = word
        entry.written[slot] = None
        self._dirty[address] = None

    # Journal.

    def snapshot(self) -> int:
        """A mark to `revert` to, good until the next commit."""
        return self._forgotten + len(self._journal)

    def revert(self, snapshot: int) -> None:
        """Undo, newest first, every write since the snapshot was taken."""
        size = snapshot - self._forgotten
        journal = self._journal
        assert 0 <= size <= len(journal)
        while len(journal) > size:
            undo = journal.pop()
            if len(undo) == 4:
                entry = undo[0]
                _, entry.nonce, entry.balance, entry.code_hash = undo
            elif undo[2] is None:
                del undo[0].words[undo[1]]
            else:
                undo[0].words[undo[1]] = undo[2]

    def commit(self) -> StateChanges:
        """Bring all writes into the tries and say what that changed; nothing is stored.

        The state goes on from the new root and remembers these nodes for as long as it lives.
        """
        nodes: Changes = {}
        codes: dict[Hash32, bytes] = {}
        superseded: list[Fragment] = []
        values: list[tuple[Address, Account, dict[Slot, Word]]] = []
        for address in self._dirty:
            entry = self._entries[address]
            words: dict[Slot, Word] = {}
            if entry.written:
                storage = self._storage(address, entry)
                for slot in entry.written:
                    word = entry.words.get(slot)
                    if word is not None:  # else a revert took it back before it was ever read
                        words[slot] = word
                        storage.set(hash_key(slot), _encode_word(word))
                entry.written = {}
                entry.storage_root = _commit_trie(storage, nodes, superseded)
            if entry.code_hash in self._codes:
                codes[entry.code_hash] = self._codes[entry.code_hash]
            account = entry.account()
            leaf = b"" if is_empty(account) else encode_account(account)
            self._accounts.set(hash_key(address), leaf)
            values.append((address, account, words))
        parent = self.root
        _commit_trie(self._accounts, nodes, superseded)
        self._dirty = {}
        self._forgotten += len(self._journal)
        self._journal = []
        return StateChanges(self.root, nodes, codes, superseded, parent, values)

    # Proofs.

    def prove_account(self, address: Address) -> list[bytes]:
        """The nodes from the state root to an account, or to where it would be."""
        return self._accounts.prove(hash_key(address))

    def prove_storage(self, address: Address, slot: Slot) -> list[bytes]:
        """The nodes from the account's storage root to a slot, or to where it would be."""
        return self._storage(address, self._entry(address)).prove(hash_key(slot))

    # Inside.

    def _entry(self, address: Address) -> _Entry:
        entry = self._entries.get(address)
        if entry is None:
            entry = self._entries[address] = _Entry(self._load_account(address))
        return entry

    def _load_account(self, address: Address) -> Account:
        """An account as of the base; a state that is read from elsewhere overrides this."""
        cache = self._cache
        is_head = cache.root == self._base
        account = cache.accounts.get(address) if is_head else None
        if account is None:
            leaf = self._accounts.get(hash_key(address))
            account = decode_account(leaf) if leaf is not None else Account()
            if is_head:
                cache.keep_account(address, account)
        return account

    def _load_word(self, address: Address, slot: Slot) -> Word:
        """A word that this state did not write, before or after a commit: as it was at its base;
        a state that is read from elsewhere overrides this."""
        cache = self._cache
        is_head = cache.root == self._base
        kept = cache.words.get(address) if is_head else None
        word = kept.get(slot) if kept is not None else None
        if word is None:
            leaf = self._storage(address, self._entries[address]).get(hash_key(slot))
            word = _decode_word(leaf) if leaf is not None else 0
            if is_head:
                cache.keep_words(address, {slot: word})
        return word

    def _storage(self, address: Address, entry: _Entry) -> Trie:
        if entry.storage is None:
            entry.storage = Trie(self._reader, address, entry.storage_root, self._cache.nodes)
        return entry.storage

    def _changing(self, address: Address) -> _Entry:
        """The entry, its fields as they are now written to the journal."""
        entry = self._entry(address)
        self._journal.append((entry, entry.nonce, entry.balance, entry.code_hash))
        self._dirty[address] = None
        return entry


def _commit_trie(trie: Trie, nodes: Changes, superseded: list[Fragment]) -> Hash32:
    root, changes = trie.commit()
    nodes.update(changes)
    superseded += trie.superseded
    trie.superseded = []
    return root


def _encode_word(word: Word) -> bytes:
    if word < 0x80:
        return word.to_bytes(1, "big") if word else b""
    size = (word.bit_length() + 7) // 8  # written out: each word that a block writes passes here
    return (0x80 + size).to_bytes(1, "big") + word.to_bytes(size, "big")


def _decode_word(leaf: bytes) -> Word:
    """The integer in a leaf: canonical RLP, since the leaf's hash was checked and we wrote it."""
    return leaf[0] if len(leaf) == 1 else int.from_bytes(leaf[1:], "big")
