"""Signatures against Wycheproof's cases (low-s rule) and against eth-account."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from eth_keys import keys
from hypothesis import given
from hypothesis import strategies as st

from ledger.crypto import secp256k1
from ledger.crypto.address import address_of
from ledger.crypto.secp256k1 import CURVE_ORDER
from ledger.errors import InvalidKey, InvalidSignature
from tests.conftest import shared_path

PRIVATE_KEYS = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
DIGESTS = st.binary(min_size=32, max_size=32)
KEY = bytes(31) + b"\x07"
DIGEST = bytes(range(32))


def is_accepted(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        r, s = decode_dss_signature(signature)  # DER itself is no part of this module
    except ValueError:
        return False
    return secp256k1.verify(public_key, digest, r, s)


def test_wycheproof():
    path = shared_path("vectors", "wycheproof", "ecdsa_secp256k1_sha256_bitcoin_test.json")
    cases = 0
    for group in json.loads(path.read_text())["testGroups"]:
        public_key = bytes.fromhex(group["publicKey"]["uncompressed"])[1:]
        for case in group["tests"]:
            digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
            accepted = is_accepted(public_key, digest, bytes.fromhex(case["sig"]))
            assert accepted == (case["result"] == "valid"), case["tcId"]
            cases += 1
    assert cases == 463


@given(PRIVATE_KEYS, DIGESTS)
def test_same_signature_as_eth_keys_and_back_to_the_signer(private_key, digest):
    y_parity, r, s = secp256k1.sign(private_key, digest)
    theirs = keys.PrivateKey(private_key).sign_msg_hash(digest)
    assert (y_parity, r, s) == (theirs.v, theirs.r, theirs.s)
    public_key = secp256k1.public_key(private_key)
    assert public_key == keys.PrivateKey(private_key).public_key.to_bytes()
    assert secp256k1.recover(digest, y_parity, r, s) == public_key
    assert secp256k1.recover_address(digest, y_parity, r, s) == address_of(private_key)
    signature = secp256k1.sign_compact(private_key, digest)
    assert secp256k1.recover_address_compact(digest, signature) == address_of(private_key)
    assert secp256k1.verify(public_key, digest, r, s)
    assert not secp256k1.verify(public_key, digest, r, CURVE_ORDER - s)


def test_the_twin_with_high_s_is_refused():
    y_parity, r, s = secp256k1.sign(KEY, DIGEST)
    with pytest.raises(InvalidSignature, match="upper half"):
        secp256k1.recover(DIGEST, 1 - y_parity, r, CURVE_ORDER - s)
    twin = r.to_bytes(32, "big") + (CURVE_ORDER - s).to_bytes(32, "big") + bytes([1 - y_parity])
    with pytest.raises(InvalidSignature, match="upper half"):
        secp256k1.recover_address_compact(DIGEST, twin)


@pytest.mark.parametrize(
    ("y_parity", "r", "s"),
    [
        (0, 0, 1),
        (0, 1, 0),
        (0, CURVE_ORDER, 1),
        (0, 1, CURVE_ORDER),
        (0, -1, 1),
        (2, 1, 1),
        (27, 1, 1),
        (-1, 1, 1),
        (0, 2**256, 1),
        (0, 5, 1),  # no point of the curve has this x
    ],
)
def test_out_of_range(y_parity, r, s):
    with pytest.raises(InvalidSignature):
        secp256k1.recover(DIGEST, y_parity, r, s)


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), bytes(65), bytes(66), b"\x01" * 64 + b"\x02"]
)
def test_bad_compact_signatures(signature):
    with pytest.raises(InvalidSignature):
        secp256k1.recover_address_compact(DIGEST, signature)


@pytest.mark.parametrize(
    "private_key", [b"", bytes(32), b"\x01" * 31, b"\xff" * 32, CURVE_ORDER.to_bytes(32, "big")]
)
def test_bad_private_keys(private_key):
    with pytest.raises(InvalidKey):
        secp256k1.sign(private_key, DIGEST)


@pytest.mark.parametrize("public_key", [b"", bytes(64), b"\x01" * 64, b"\x04" + b"\x01" * 64])
def test_bad_public_keys(public_key):
    with pytest.raises(InvalidKey):
        secp256k1.verify(public_key, DIGEST, 1, 1)


def test_only_digests_are_signed():
    for call in (
        lambda: secp256k1.sign(KEY, b"text"),
        lambda: secp256k1.recover(b"text", 0, 1, 1),
        lambda: secp256k1.verify(secp256k1.public_key(KEY), b"text", 1, 1),
    ):
        with pytest.raises(InvalidSignature, match="32-byte digest"):
            call()
