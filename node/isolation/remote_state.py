"""The state as the worker sees it: read over the pipe once, written here, shipped at the end.

The journal, snapshots and reverts are `State`'s own; only where it would go to a trie does this one
ask the node.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ledger.state.account import Account
from ledger.state.state import State
from ledger.trie.trie import EMPTY_ROOT
from ledger.types import Address, Hash32, Slot, Word
from node.isolation.wire import ACCOUNT, CODE, WORD, pack_int, unpack_int

Ask = Callable[[list[Any]], Any]


class Source:
    """The reader under a remote state: codes come by their hash, nodes are never asked for."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return None

    def get_code(self, code_hash: Hash32) -> bytes | None:
        code: bytes = self._ask([CODE, code_hash])
        return code


class RemoteState(State):
    """The state of one message."""

    __slots__ = ("_ask", "_known_accounts", "_known_words")

    def __init__(
        self, ask: Ask, accounts: Sequence[list[Any]] = (), words: Sequence[list[Any]] = ()
    ) -> None:
        """`accounts` and `words` came with the message; the rest is asked for."""
        super().__init__(Source(ask), EMPTY_ROOT)
        self._ask = ask
        self._known_accounts = {address: rest for address, *rest in accounts}
        self._known_words = {(address, slot): word for address, slot, word in words}

    def _load_account(self, address: Address) -> Account:
        known = self._known_accounts.get(address)
        nonce, balance, code_hash = self._ask([ACCOUNT, address]) if known is None else known
        return Account(nonce, unpack_int(balance), EMPTY_ROOT, code_hash)

    def _load_word(self, address: Address, slot: Slot) -> Word:
        known = self._known_words.get((address, slot))
        return unpack_int(self._ask([WORD, address, slot]) if known is None else known)

    def list_changes(self) -> list[Any]:
        """[address, nonce, balance, code or nil, [[slot, word], ...]] of what was written."""
        changes = []
        for address in self._dirty:
            entry = self._entries[address]
            words = [
                [slot, pack_int(entry.words[slot])] for slot in entry.written if slot in entry.words
            ]
            code = self._codes.get(entry.code_hash)
            changes.append([address, entry.nonce, pack_int(entry.balance), code, words])
        return changes
