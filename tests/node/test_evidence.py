"""The proof that a validator signed two things: durable, bounded, to be checked by anybody."""

import pytest

from ledger.consensus.messages import Kind, Network, Vote, sign_vote, signing_digest
from ledger.consensus.votes import Evidence
from ledger.crypto.address import address_of, to_checksum
from ledger.crypto.secp256k1 import recover_address_compact
from ledger.encoding.hexadecimal import decode_data
from ledger.encoding.packed import pack
from ledger.errors import EncodingError
from ledger.store.memory import MemoryStore
from node.evidence import KEPT_PER_VALIDATOR, META_KEY, EvidenceShelf

NETWORK = Network(1947, bytes(32))
KEYS = [bytes([index]) * 32 for index in range(1, 4)]


def accuse(key: bytes, round_: int = 0, kind: Kind = Kind.PREPARE) -> Evidence:
    first, second = (
        sign_vote(key, NETWORK, Vote(kind, 7, round_, bytes([digest]) * 32, None, b""))
        for digest in (1, 2)
    )
    return Evidence(address_of(key), first, second)


def test_it_survives_a_restart() -> None:
    store = MemoryStore()
    kept = [accuse(KEYS[0]), accuse(KEYS[1], 3, Kind.COMMIT)]
    shelf = EvidenceShelf(store)
    assert all(shelf.keep(one) for one in kept)
    assert EvidenceShelf(store).kept == kept


def test_a_liar_cannot_fill_it_nor_wear_out_the_card() -> None:
    store = MemoryStore()
    shelf = EvidenceShelf(store)
    writes: list[str] = []
    put = store.put_durable
    store.put_durable = lambda key, value: (writes.append(key), put(key, value))[1]  # type: ignore[method-assign,assignment]
    assert not shelf.keep(accuse(KEYS[0])) or not shelf.keep(accuse(KEYS[0])), "one a slot"
    for round_ in range(1, 100):
        shelf.keep(accuse(KEYS[0], round_))
    assert len(shelf.kept) == len(writes) == KEPT_PER_VALIDATOR
    assert shelf.keep(accuse(KEYS[1])), "there is room for the others"


def test_anybody_can_check_it() -> None:
    shelf = EvidenceShelf(MemoryStore())
    shelf.keep(accuse(KEYS[2], 5))
    (said,) = shelf.describe()
    for signed in said["signed"]:
        digest, signature = decode_data(signed["digest"]), decode_data(signed["signature"])
        vote = Vote(Kind[said["message"]], said["height"], said["round"], digest, None, signature)
        author = recover_address_compact(signing_digest(NETWORK, vote), signature)
        assert to_checksum(author) == said["validator"]
    assert shelf.say(address_of(KEYS[2])) == (
        "signed two different PREPARE votes of block 7, round 5"
    )
    assert shelf.say(address_of(KEYS[0])) == ""


@pytest.mark.parametrize("damaged", [b"", b"\xc1", pack(((1, 2, 3),)), pack(((b"", (), ()),))])
def test_a_damaged_shelf_is_never_silent(damaged: bytes) -> None:
    store = MemoryStore()
    store.put_durable(META_KEY, damaged)
    with pytest.raises(EncodingError):
        EvidenceShelf(store)
