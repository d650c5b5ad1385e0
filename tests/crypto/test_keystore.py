"""Key files against the published ones and against eth-account's."""

import copy
import json

import pytest
from eth_account import Account

from ledger.crypto.keystore import decrypt_key, encrypt_key
from ledger.errors import InvalidKey, KeystoreError, WrongPassword
from tests.conftest import shared_path

KEY = bytes(31) + b"\x07"
RANDOM = {"salt": bytes(range(32)), "iv": bytes(range(16)), "uuid": bytes(range(16))}
LIGHT = {"n": 1 << 10, "r": 1, "p": 1}


def published() -> dict[str, dict[str, object]]:
    path = shared_path("vectors", "KeyStoreTests", "basic_tests.json")
    return json.loads(path.read_text())


def test_published_key_files():
    cases = published()
    for name, case in cases.items():
        expected = bytes.fromhex(case["priv"].removeprefix("0x"))
        assert decrypt_key(case["json"], case["password"]) == expected, name
    assert len(cases) == 5


@pytest.mark.parametrize("cost", [LIGHT, {"kdf": "pbkdf2", "rounds": 1_000}])
@pytest.mark.parametrize("password", ["", "secret", "über 🔑"])
def test_eth_account_reads_what_is_written(cost, password):
    keystore = json.loads(json.dumps(encrypt_key(KEY, password, **RANDOM, **cost)))
    assert Account.decrypt(keystore, password) == KEY
    assert decrypt_key(keystore, password) == KEY
    assert keystore["address"] == Account.from_key(KEY).address[2:].lower()


@pytest.mark.parametrize(("kdf", "cost"), [("scrypt", 1 << 10), ("pbkdf2", 1_000)])
def test_what_eth_account_writes_is_read(kdf, cost):
    keystore = Account.encrypt(KEY, "secret", kdf=kdf, iterations=cost)
    assert decrypt_key(keystore, "secret") == KEY


def test_the_default_costs_are_readable():
    keystore = encrypt_key(KEY, "secret", **RANDOM)
    assert keystore["crypto"]["kdfparams"]["n"] == 1 << 15
    assert decrypt_key(keystore, "secret") == KEY


def test_a_wrong_password_is_one_clear_error():
    keystore = encrypt_key(KEY, "secret", **RANDOM, **LIGHT)
    with pytest.raises(WrongPassword, match="wrong password"):
        decrypt_key(keystore, "Secret")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 1),
        ("version", None),
        ("crypto", None),
        ("crypto", []),
        ("crypto.cipher", "aes-128-cbc"),
        ("crypto.cipherparams", None),
        ("crypto.cipherparams.iv", "00"),
        ("crypto.cipherparams.iv", 7),
        ("crypto.ciphertext", "zz"),
        ("crypto.ciphertext", "00" * 600),
        ("crypto.kdf", "md5"),
        ("crypto.kdf", ["scrypt"]),
        ("crypto.kdfparams.salt", None),
        ("crypto.kdfparams.dklen", 16),
        ("crypto.kdfparams.n", 1000),
        ("crypto.kdfparams.n", 1),
        ("crypto.kdfparams.n", 1 << 24),
        ("crypto.kdfparams.n", 1 << 40),
        ("crypto.kdfparams.n", 2.5),
        ("crypto.kdfparams.r", 1 << 20),
        ("crypto.kdfparams.p", 1 << 20),
        ("crypto.kdfparams.p", 0),
        ("address", "00" * 20),
    ],
)
def test_a_damaged_file_says_what_is_wrong(path, value):
    keystore = copy.deepcopy(encrypt_key(KEY, "secret", **RANDOM, **LIGHT))
    *parents, name = path.split(".")
    holder = keystore
    for parent in parents:
        holder = holder[parent]
    holder[name] = value
    with pytest.raises(KeystoreError) as caught:
        decrypt_key(keystore, "secret")
    assert path.endswith(".iv") or not isinstance(caught.value, WrongPassword)


def test_pbkdf2_bounds():
    keystore = encrypt_key(KEY, "secret", kdf="pbkdf2", rounds=1_000, **RANDOM)
    for name, value in (("c", 10**9), ("c", 0), ("prf", "hmac-md5")):
        damaged = copy.deepcopy(keystore)
        damaged["crypto"]["kdfparams"][name] = value
        with pytest.raises(KeystoreError):
            decrypt_key(damaged, "secret")


def test_only_keys_are_encrypted():
    with pytest.raises(InvalidKey):
        encrypt_key(bytes(32), "secret", **RANDOM, **LIGHT)
    with pytest.raises(KeystoreError):
        encrypt_key(KEY, "secret", **RANDOM, n=1_000)
