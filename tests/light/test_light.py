"""Certificates broken as others broke them (QBFT.md), the light rule, and proofs made by `trie`."""

from dataclasses import replace

import pytest
import rlp as oracle_rlp
from eth_account import Account as Wallet
from eth_utils import keccak
from trie import HexaryTrie

import ledger.light
from ledger.block import Certificate, Header, commit_digest, validators_hash
from ledger.crypto.address import address_of
from ledger.crypto.secp256k1 import CURVE_ORDER, sign_compact
from ledger.errors import ProofError
from ledger.genesis import Override
from ledger.light import LightClient, verify_account, verify_certificate, verify_storage
from ledger.state.account import Account

CHAIN_ID = 1947
GENESIS_HASH = keccak(b"genesis")
KEYS = [keccak(bytes([index])) for index in range(7)]
MEMBERS = tuple(sorted(address_of(key) for key in KEYS))
KEY_OF = {address_of(key): key for key in KEYS}
FOUR, OTHER_FOUR = MEMBERS[:4], MEMBERS[3:]


def make_header(number: int, of: tuple[bytes, ...], then: tuple[bytes, ...], **changes) -> Header:
    values = {
        "parent_hash": bytes(32),
        "coinbase": of[0],
        "state_root": bytes(32),
        "transactions_root": bytes(32),
        "receipts_root": bytes(32),
        "bloom": bytes(256),
        "number": number,
        "gas_limit": 15_000_000,
        "gas_used": 0,
        "timestamp": 1_000 + number,
        "extra_data": validators_hash(of),
        "mix_hash": validators_hash(then),
        "base_fee": 0,
    }
    return Header(**values | changes)


def certify(header: Header, signers: tuple[bytes, ...], round_: int = 0) -> Certificate:
    digest = commit_digest(CHAIN_ID, GENESIS_HASH, header.number, round_, header.hash)
    signatures = tuple(sign_compact(KEY_OF[signer], digest) for signer in signers)
    return Certificate(header.number, round_, header.hash, signatures)


HEADER = make_header(5, FOUR, FOUR)


def verify(certificate: Certificate, header: Header = HEADER, validators=FOUR) -> set[bytes]:
    return verify_certificate(header, certificate, validators, CHAIN_ID, GENESIS_HASH)


@pytest.mark.parametrize("round_", [0, 3])
@pytest.mark.parametrize("signers", [FOUR, FOUR[:3], FOUR[1:], FOUR[::-1]])
def test_a_quorum_of_members_makes_a_block_final(signers, round_):
    assert verify(certify(HEADER, signers, round_)) == set(signers)


def test_the_signatures_are_those_an_ethereum_wallet_makes():
    digest = commit_digest(CHAIN_ID, GENESIS_HASH, 5, 0, HEADER.hash)
    signatures = []
    for member in FOUR[:3]:
        signed = Wallet.unsafe_sign_hash(digest, KEY_OF[member])
        signatures.append(
            signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big") + bytes([signed.v - 27])
        )

    assert verify(Certificate(5, 0, HEADER.hash, tuple(signatures))) == set(FOUR[:3])


def test_f_plus_one_signatures_are_not_enough():
    with pytest.raises(ProofError, match="2 signatures, 3 of 4 validators are needed"):
        verify(certify(HEADER, FOUR[:2]))
    with pytest.raises(ProofError, match="0 signatures"):
        verify(certify(HEADER, ()))


def test_one_signer_counts_once():
    with pytest.raises(ProofError, match="signed it twice"):
        verify(certify(HEADER, (FOUR[0], FOUR[1], FOUR[1])))


def test_a_high_s_does_not_make_a_second_signature():
    good = certify(HEADER, FOUR[:3])
    first = good.signatures[0]
    s = CURVE_ORDER - int.from_bytes(first[32:64], "big")
    twin = first[:32] + s.to_bytes(32, "big") + bytes([1 - first[64]])

    with pytest.raises(ProofError, match="upper half"):
        verify(replace(good, signatures=(*good.signatures[:2], twin)))


def test_a_stranger_does_not_count():
    with pytest.raises(ProofError, match="no validator of it"):
        verify(certify(HEADER, (*FOUR[:2], OTHER_FOUR[1])))


@pytest.mark.parametrize(
    "signature", [bytes(65), b"\xff" * 65, b"\1" * 64 + b"\2", b"\1" * 64, b""]
)
def test_a_seal_of_nobody_does_not_count(signature):
    good = certify(HEADER, FOUR[:3])

    with pytest.raises(ProofError):
        verify(replace(good, signatures=(*good.signatures[:2], signature)))


def test_ten_thousand_seals_are_refused_before_one_is_recovered(monkeypatch):
    monkeypatch.setattr(ledger.light, "recover_address_compact", lambda *_: pytest.fail("work"))
    good = certify(HEADER, FOUR)

    with pytest.raises(ProofError, match="10000 signatures of 4 validators"):
        verify(replace(good, signatures=good.signatures * 2_500))


def test_a_certificate_is_of_one_block_round_chain_and_genesis():
    good = certify(HEADER, FOUR[:3])

    with pytest.raises(ProofError):
        verify(replace(good, round=1))
    with pytest.raises(ProofError, match="for another block"):
        verify(good, make_header(6, FOUR, FOUR))
    with pytest.raises(ProofError, match="for another block"):
        verify(good, replace(HEADER, gas_used=1))
    with pytest.raises(ProofError):
        verify_certificate(HEADER, good, FOUR, CHAIN_ID + 1, GENESIS_HASH)
    with pytest.raises(ProofError):
        verify_certificate(HEADER, good, FOUR, CHAIN_ID, keccak(b"another"))


def test_the_validators_are_those_the_header_names():
    with pytest.raises(ProofError, match="not the validators that the header names"):
        verify(certify(HEADER, FOUR[:3]), validators=FOUR[:3])


@pytest.mark.parametrize("count", [5, 6])
def test_two_thirds_are_rounded_up_where_n_is_not_3f_plus_1(count):
    """Quorum 2f + 1 would let two quorums share a single node (IBFT 1)."""
    members = MEMBERS[:count]
    header = make_header(5, members, members)

    verify(certify(header, members[:4]), header, members)
    with pytest.raises(ProofError, match=f"4 of {count}"):
        verify(certify(header, members[:3]), header, members)


# The light rule.


def follow(client: LightClient, header: Header, of: tuple[bytes, ...], **others) -> None:
    client.follow(header, certify(header, of[: len(of) - 1]), of, **others)


def test_a_light_client_jumps_while_the_set_stays_and_walks_where_it_changed():
    client = LightClient(CHAIN_ID, GENESIS_HASH, FOUR)
    follow(client, make_header(7, FOUR, FOUR), FOUR)
    follow(client, make_header(900, FOUR, FOUR), FOUR)

    late = make_header(2_000, OTHER_FOUR, OTHER_FOUR)
    assert client.needs_change(late)
    with pytest.raises(ProofError, match="follow the blocks at which they changed first"):
        follow(client, late, OTHER_FOUR)
    assert client.height == 900

    follow(client, make_header(1_500, FOUR, OTHER_FOUR), FOUR)
    follow(client, late, OTHER_FOUR)
    assert client.height == 2_000


def test_an_override_is_walked_and_only_its_own_set_decides_there():
    saved = MEMBERS[2:5]
    client = LightClient(CHAIN_ID, GENESIS_HASH, FOUR, overrides=(Override(50, saved),))
    follow(client, make_header(10, FOUR, FOUR), FOUR)
    after = make_header(60, saved, saved)
    assert client.needs_change(after)
    for header, of in (
        (after, saved),  # the override's block was left out
        (make_header(60, FOUR, FOUR), FOUR),  # the old set goes on as if there were none
        (make_header(50, FOUR, FOUR), FOUR),
    ):
        with pytest.raises(ProofError):
            follow(client, header, of)
    at = make_header(50, saved, saved)
    assert not client.needs_change(at)
    follow(client, at, saved)
    follow(client, after, saved)
    assert client.height == 60
    later = LightClient(
        CHAIN_ID, GENESIS_HASH, FOUR, trusted=after, overrides=(Override(50, saved),)
    )
    follow(later, make_header(70, saved, saved), saved)


def test_a_light_client_is_not_led_by_a_set_of_the_liars_own():
    client = LightClient(CHAIN_ID, GENESIS_HASH, FOUR)

    with pytest.raises(ProofError):
        follow(client, make_header(1, OTHER_FOUR, OTHER_FOUR), OTHER_FOUR)
    forged = make_header(1, FOUR, FOUR)
    with pytest.raises(ProofError):
        client.follow(forged, certify(forged, OTHER_FOUR), FOUR)
    with pytest.raises(ProofError):
        client.follow(forged, certify(forged, OTHER_FOUR), OTHER_FOUR)
    assert client.height == 0


def test_a_light_client_never_goes_back():
    client = LightClient(CHAIN_ID, GENESIS_HASH, FOUR, trusted=make_header(10, FOUR, FOUR))

    for header in (make_header(10, FOUR, FOUR), make_header(9, FOUR, FOUR)):
        with pytest.raises(ProofError, match="is not after block 10"):
            follow(client, header, FOUR)
    with pytest.raises(ProofError, match="earlier time"):
        follow(client, make_header(11, FOUR, FOUR, timestamp=5), FOUR)


def test_what_is_trusted_grows_old():
    trusted = make_header(10, FOUR, FOUR, timestamp=1_000_000)
    client = LightClient(CHAIN_ID, GENESIS_HASH, FOUR, trusted=trusted, trusting_period_s=3_600)
    header = make_header(11, FOUR, FOUR, timestamp=1_003_000)

    with pytest.raises(ProofError, match="older than 3600 s"):
        follow(client, header, FOUR, now_s=1_003_601)
    with pytest.raises(ProofError, match="needs the time"):
        follow(client, header, FOUR)
    follow(client, header, FOUR, now_s=1_003_600)
    assert client.height == 11


# Proofs, made by Ethereum's own package.


def prove(entries: dict[bytes, bytes], key: bytes) -> tuple[bytes, list[bytes]]:
    trie = HexaryTrie({})
    for name, value in entries.items():
        trie[keccak(name)] = value
    return trie.root_hash, [oracle_rlp.encode(node) for node in trie.get_proof(keccak(key))]


ACCOUNTS = {
    bytes([index]) * 20: oracle_rlp.encode([index, index * 10**18, b"\5" * 32, b"\6" * 32])
    for index in range(1, 40)
}


def test_an_account_is_proved_present():
    root, proof = prove(ACCOUNTS, b"\3" * 20)

    assert verify_account(root, b"\3" * 20, proof) == Account(3, 3 * 10**18, b"\5" * 32, b"\6" * 32)


def test_an_account_is_proved_absent():
    root, proof = prove(ACCOUNTS, b"\x77" * 20)

    assert verify_account(root, b"\x77" * 20, proof) is None


def test_a_proof_of_something_else_proves_nothing():
    root, proof = prove(ACCOUNTS, b"\3" * 20)

    for wrong in (proof[:-1], [], [*proof, proof[-1]], proof[::-1]):
        with pytest.raises(ProofError):
            verify_account(root, b"\3" * 20, wrong)
    with pytest.raises(ProofError):
        verify_account(bytes(32), b"\3" * 20, proof)


@pytest.mark.parametrize("leaf", [b"\1", oracle_rlp.encode([1, 2, b"\5" * 32, b"\6" * 31])])
def test_a_leaf_that_is_no_account_is_refused(leaf):
    root, proof = prove(ACCOUNTS | {b"\x50" * 20: leaf}, b"\x50" * 20)

    with pytest.raises(ProofError, match="is no account"):
        verify_account(root, b"\x50" * 20, proof)


WORDS = {index.to_bytes(32, "big"): oracle_rlp.encode(index**20) for index in range(1, 40)}


def test_a_slot_is_proved_with_what_it_holds():
    for index in (1, 2, 39):
        slot = index.to_bytes(32, "big")
        root, proof = prove(WORDS, slot)
        assert verify_storage(root, slot, proof) == index**20


def test_a_slot_is_proved_to_hold_nothing():
    slot = (1_000).to_bytes(32, "big")
    root, proof = prove(WORDS, slot)

    assert verify_storage(root, slot, proof) == 0
    with pytest.raises(ProofError):
        verify_storage(root, slot, proof[:-1])


@pytest.mark.parametrize(
    "leaf", [oracle_rlp.encode(b"\1" * 33), oracle_rlp.encode([]), b"\x82\0\1", b"\x81\1"]
)
def test_a_leaf_that_is_no_word_is_refused(leaf):
    slot = (1_000).to_bytes(32, "big")
    root, proof = prove(WORDS | {slot: leaf}, slot)

    with pytest.raises(ProofError, match="is no word"):
        verify_storage(root, slot, proof)
