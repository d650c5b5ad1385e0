"""The wire: what is signed, what decodes, and that nothing else does."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.block import commit_digest
from ledger.consensus import messages
from ledger.consensus.messages import (
    KNOWN_AUTHORS_MAX,
    MESSAGE_BYTES_MAX,
    NUMBER_MAX,
    STATUS_SLOTS_MAX,
    Authors,
    Kind,
    Message,
    Network,
    Status,
    Vote,
    decode_message,
    decode_status,
    sign_vote,
    signing_digest,
)
from ledger.consensus.signer import decode_record
from ledger.encoding.packed import pack
from ledger.errors import EncodingError, InvalidSignature, MessageTooLarge
from tests.consensus.desk import NETWORK, Desk, block_of, reasons

numbers = st.integers(0, NUMBER_MAX - 1)
digests = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=65, max_size=65)


def votes(*kinds: Kind) -> st.SearchStrategy[Vote]:
    plain = [kind for kind in kinds if kind is not Kind.ROUND_CHANGE]
    one = st.builds(Vote, st.sampled_from(plain), numbers, numbers, digests, st.none(), signatures)
    bare = st.builds(
        Vote,
        st.just(Kind.ROUND_CHANGE),
        numbers,
        st.integers(1, NUMBER_MAX - 1),
        st.none(),
        st.none(),
        signatures,
    )
    locked = st.builds(
        lambda vote, digest, below: vote._replace(digest=digest, prepared_round=below % vote.round),
        bare,
        digests,
        numbers,
    )
    changes = st.one_of(bare, locked)
    if not plain:
        return changes
    return st.one_of(one, changes) if Kind.ROUND_CHANGE in kinds else one


carrying = st.builds(
    Message,
    votes(Kind.PROPOSAL, Kind.ROUND_CHANGE),
    st.one_of(st.none(), st.binary(max_size=50)),
    st.lists(votes(Kind.ROUND_CHANGE), max_size=3).map(tuple),
    st.lists(votes(Kind.PREPARE), max_size=3).map(tuple),
)


@given(st.one_of(carrying, st.builds(Message, votes(Kind.PREPARE, Kind.COMMIT))))
def test_a_message_survives_its_encoding(message: Message) -> None:
    assert decode_message(message.encode()) == message


@given(
    st.builds(
        Status,
        numbers,
        numbers,
        st.booleans(),
        st.lists(st.tuples(st.integers(1, 4), numbers, st.integers(0, 2**100 - 1)), max_size=5).map(
            tuple
        ),
    )
)
def test_a_status_survives_its_encoding(status: Status) -> None:
    assert decode_status(status.encode()) == status
    assert status.head_height == status.height - 1


def test_what_many_liars_fill_a_status_with_does_not_hide_what_a_quorum_said() -> None:
    """Else each peer sends the ROUND-CHANGEs of all, blocks and all, with each status again."""
    lies = [(int(Kind.PREPARE), round_, 1 << round_ % 20) for round_ in range(300)]
    said = (int(Kind.ROUND_CHANGE), 7, 2**41 - 1)
    kept = decode_status(Status(1, 7, True, (*lies, said)).encode()).heard
    assert len(kept) == STATUS_SLOTS_MAX
    assert said in kept


@given(st.binary(max_size=300))
def test_noise_raises_nothing_but_encoding_errors(data: bytes) -> None:
    for decode in (decode_message, decode_status, decode_record):
        with pytest.raises(EncodingError):
            decode(data)


@given(carrying, st.data())
def test_a_mangled_message_decodes_to_another_or_not_at_all(message: Message, data) -> None:  # type: ignore[no-untyped-def]
    encoded = bytearray(message.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_message(bytes(encoded))
    except EncodingError:
        return
    assert other != message


def test_each_ill_formed_item_is_refused() -> None:
    desk = Desk()
    good = desk.vote("B", Kind.PREPARE, 0, bytes(32))
    wrong: list[object] = [
        (1, good, None, ()),  # an item short
        (2, good, None, (), ()),  # another version
        (1, good, b"block", (), ()),  # what a PREPARE does not carry
        (1, good, None, (good,), ()),
        (1, good, None, None, ()),
        (1, tuple(good)[:5], None, (), ()),
    ]
    wrong += [
        (1, item, None, (), ())
        for item in (
            good._replace(kind=5),  # type: ignore[arg-type]
            good._replace(kind=True),  # type: ignore[arg-type]
            good._replace(height=-1),
            good._replace(round=2**63),
            good._replace(round=1.0),  # type: ignore[arg-type]
            good._replace(digest=bytes(31)),
            good._replace(digest=None),
            good._replace(prepared_round=0),
            good._replace(signature=bytes(64)),
            good._replace(signature="x" * 65),  # type: ignore[arg-type]
        )
    ]
    proposal = good._replace(kind=Kind.PROPOSAL)
    wrong += [
        (1, proposal, "text", (), ()),
        (1, proposal, b"", (good,), ()),  # a PREPARE among ROUND-CHANGEs
        (1, proposal, b"", (), (proposal,)),
        (1, proposal, b"", (), (good,) * 101),
    ]
    for item in wrong:
        with pytest.raises(EncodingError):
            decode_message(pack(item))
    with pytest.raises(MessageTooLarge):
        decode_message(bytes(MESSAGE_BYTES_MAX + 1))
    for status in ((1, 1, 0, 1, ()), (2, 1, 0, True, ()), (1, 1, 0, True, ((1, 2),))):
        with pytest.raises(EncodingError):
            decode_status(pack(status))


def test_every_field_is_under_the_signature() -> None:
    vote = Vote(Kind.ROUND_CHANGE, 5, 3, bytes(32), 1, b"")
    others = [
        (NETWORK, vote._replace(kind=Kind.PROPOSAL, prepared_round=None)),
        (NETWORK, vote._replace(kind=Kind.PREPARE, prepared_round=None)),
        (NETWORK, vote._replace(kind=Kind.COMMIT, prepared_round=None)),
        (NETWORK, vote._replace(height=6)),
        (NETWORK, vote._replace(round=4)),
        (NETWORK, vote._replace(digest=bytes(31) + b"\x01")),
        (NETWORK, vote._replace(prepared_round=2)),
        (NETWORK, vote._replace(prepared_round=0)),
        (NETWORK, vote._replace(digest=None, prepared_round=None)),
        (NETWORK._replace(chain_id=1), vote),
        (NETWORK._replace(genesis_hash=bytes(32)), vote),
    ]
    digests_signed = {signing_digest(network, other) for network, other in others}
    assert len(digests_signed) == len(others)
    assert signing_digest(NETWORK, vote) not in digests_signed


def test_a_commit_is_signed_as_a_solidity_contract_checks_it() -> None:
    vote = Vote(Kind.COMMIT, 5, 3, b"d" * 32, None, b"")
    expected = commit_digest(NETWORK.chain_id, NETWORK.genesis_hash, 5, 3, b"d" * 32)
    assert signing_digest(NETWORK, vote) == expected


@pytest.mark.parametrize(
    "other", [NETWORK._replace(chain_id=7), NETWORK._replace(genesis_hash=bytes(32))]
)
def test_a_vote_of_another_chain_is_of_nobody_here(other: Network) -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    foreign = Message(desk.vote("B", Kind.PREPARE, 0, block.hash, network=other))
    assert "nobody in the validator set" in reasons(desk.hear(foreign))[0]


def test_a_signature_is_recovered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    recover = messages.recover_address_compact

    def counting(digest: bytes, signature: bytes) -> bytes:
        nonlocal count
        count += 1
        return recover(digest, signature)

    monkeypatch.setattr(messages, "recover_address_compact", counting)
    desk = Desk()
    block = block_of(desk.address("B"))
    prepares = desk.votes("BCD", Kind.PREPARE, 0, block.hash)
    desk.hear(desk.propose("B", block), *prepares, *prepares)
    assert count == 4
    locked = Message(
        desk.vote("C", Kind.ROUND_CHANGE, 1, block.hash, 0),
        desk.propose("B", block).block,
        (),
        tuple(prepare.vote for prepare in prepares),
    )
    desk.hear(locked, locked)
    assert count == 5, "its PREPAREs were known"


def test_known_authors_are_bounded_and_never_confused() -> None:
    authors = Authors(NETWORK)
    key = bytes(31) + b"\x01"
    vote = sign_vote(key, NETWORK, Vote(Kind.PREPARE, 1, 0, bytes(32), None, b""))
    author = authors.author_of(vote)
    with contextlib.suppress(InvalidSignature):  # a stranger, or nobody at all
        assert authors.author_of(vote._replace(round=1)) != author
    for i in range(KNOWN_AUTHORS_MAX + 1):
        authors._known[i.to_bytes(65, "big")] = (vote, author)
    authors.author_of(replace_round(key, 9))
    assert len(authors._known) <= KNOWN_AUTHORS_MAX + 1
    assert authors.author_of(vote) == author


def replace_round(key: bytes, round_: int) -> Vote:
    return sign_vote(key, NETWORK, Vote(Kind.PREPARE, 1, round_, bytes(32), None, b""))


def test_messages_without_their_block_are_still_of_their_author() -> None:
    desk = Desk()
    block = block_of(desk.address("B"))
    bare = replace(desk.propose("B", block), block=None)
    assert "does not travel" in reasons(desk.hear(bare))[0]
