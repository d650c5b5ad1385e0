"""Which validator sets were ever in force, and where they changed: small values beside blocks.

A header names sets by their hash; who follows headers, and light clients, need the members.
"""

from collections.abc import Iterable

from ledger.block import validators_hash
from ledger.encoding import rlp
from ledger.store.base import Store
from ledger.types import Address, Hash32, Height

CHANGES_KEY = "validator-changes"


def _key(digest: Hash32) -> str:
    return "validators/" + digest.hex()


def load_validators(store: Store, digest: Hash32) -> tuple[Address, ...] | None:
    """The set with this hash (a header's extraData or mixHash), if it was ever kept."""
    raw = store.get_meta(_key(digest))
    return tuple(rlp.decode(raw)) if raw else None  # type: ignore[arg-type]


def save_validators(store: Store, validators: tuple[Address, ...]) -> None:
    key = _key(validators_hash(validators))
    if store.get_meta(key) is None:
        store.set_meta(key, rlp.encode(list(validators)))


def load_changes(store: Store) -> tuple[Height, ...]:
    """The heights whose block changed the validators, ascending."""
    raw = store.get_meta(CHANGES_KEY)
    return tuple(map(rlp.decode_uint, rlp.decode(raw))) if raw else ()  # type: ignore[arg-type]


def save_changes(store: Store, heights: Iterable[Height]) -> None:
    """Add heights; those that are there, because a restart executed a block again, stay once."""
    kept = load_changes(store)
    merged = sorted({*kept, *heights})
    if len(merged) > len(kept):
        store.set_meta(CHANGES_KEY, rlp.encode([rlp.encode_uint(one) for one in merged]))
