"""Keys: made, listed, taken in and given out, in the format that Ethereum's tools read."""

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account

from tests.commands.terminal import fail, misuse, run, succeed, type_in

Account.enable_unaudited_hdwallet_features()
JUNK = "test test test test test test test test test test test junk"
FIRST = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
FIRST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
PASSWORD = "correct horse"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[object, ...]:
    """The options that name a folder of keys and a password."""
    (tmp_path / "password").write_text(PASSWORD + "\nnot this line\n")
    return ("--keystore", tmp_path / "keys", "--password-file", tmp_path / "password")


def test_eth_account_reads_a_new_key(keys: tuple[object, ...]) -> None:
    made = json.loads(succeed("account", "new", *keys, "--json"))
    path = Path(made["file"])
    private_key = Account.decrypt(path.read_text(), PASSWORD)
    assert Account.from_key(private_key).address == made["address"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(succeed("account", "list", *keys[:2], "--json")) == [
        {"address": made["address"], "file": str(path)}
    ]
    assert made["address"] in succeed("account", "list", *keys[:2])


def test_the_words_of_a_new_key_are_its_backup(keys: tuple[object, ...]) -> None:
    made = json.loads(succeed("account", "new", "--mnemonic", *keys, "--json"))
    assert Account.from_mnemonic(made["mnemonic"]).address == made["address"]


def test_two_new_keys_differ(keys: tuple[object, ...]) -> None:
    assert succeed("account", "new", *keys) != succeed("account", "new", *keys)


@pytest.mark.parametrize(
    "text", [FIRST_KEY, FIRST_KEY[2:] + "\n", JUNK], ids=["0x", "hex", "words"]
)
def test_a_key_is_taken_in_and_given_out(
    tmp_path: Path, keys: tuple[object, ...], text: str
) -> None:
    (tmp_path / "source").write_text(text)
    assert FIRST in succeed("account", "import", tmp_path / "source", *keys)
    exported = succeed("account", "export", FIRST, *keys[:2])
    assert Account.decrypt(exported, PASSWORD).to_0x_hex() == FIRST_KEY
    assert succeed("account", "export", FIRST, "--private-key", *keys).strip() == FIRST_KEY


def test_a_key_file_of_eth_account_is_taken_in(tmp_path: Path, keys: tuple[object, ...]) -> None:
    theirs = Account.encrypt(FIRST_KEY, PASSWORD, kdf="pbkdf2", iterations=1_000)
    (tmp_path / "source").write_text(json.dumps(theirs))
    assert FIRST in succeed("account", "import", tmp_path / "source", *keys)


def test_another_account_of_the_words(tmp_path: Path, keys: tuple[object, ...]) -> None:
    (tmp_path / "words").write_text(JUNK)
    out = succeed("account", "import", tmp_path / "words", "--index", 1, *keys)
    assert "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" in out


def test_a_password_is_asked_for_twice(tmp_path: Path) -> None:
    out = type_in("secret\nsecret\n", "account", "new", "--keystore", tmp_path)
    (path,) = tmp_path.iterdir()
    assert "secret" not in out
    assert Account.decrypt(path.read_text(), "secret")


def test_what_is_wrong_with_a_key_is_one_line(tmp_path: Path, keys: tuple[object, ...]) -> None:
    (tmp_path / "key").write_text(FIRST_KEY)
    succeed("account", "import", tmp_path / "key", *keys)
    assert "already has a key file" in fail("account", "import", tmp_path / "key", *keys)
    (tmp_path / "other").write_text("wrong")
    wrong = ("--keystore", tmp_path / "keys", "--password-file", tmp_path / "other")
    assert "wrong password" in fail("account", "export", FIRST, "--private-key", *wrong)
    nobody = "0x" + "00" * 19 + "01"
    assert nobody in fail("account", "export", nobody, *keys[:2])
    assert "40 hex digits" in misuse("account", "export", "0x12", *keys[:2])
    swapped = FIRST.replace("f39F", "F39f")
    assert "checksum" in misuse("account", "export", swapped, *keys[:2])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{bad", "expected a Web3 key file; not JSON"),
        (b"{}", "version None, expected 3"),
        (b"0x1234", "64 hex digits"),
        (b"\xff\xfe\x00", "64 hex digits"),
        (b"a " * 60_000, "64 hex digits"),
        (b"a b c d e f g h i j k l", "mnemonic"),
        (b"{" + b"[" * 50_000, "expected a Web3 key file"),
    ],
)
def test_a_file_that_is_no_key_is_refused(
    tmp_path: Path, keys: tuple[object, ...], content: bytes, expected: str
) -> None:
    (tmp_path / "source").write_bytes(content)
    error = fail("account", "import", tmp_path / "source", *keys)
    assert expected.lower() in error.lower()
    assert not (tmp_path / "keys").exists()


def test_a_secret_with_a_slip_is_not_repeated(tmp_path: Path, keys: tuple[object, ...]) -> None:
    (tmp_path / "source").write_text(FIRST_KEY[:-1] + "g")
    assert FIRST_KEY[2:20] not in fail("account", "import", tmp_path / "source", *keys)


def test_files_and_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert str(missing) in misuse("account", "import", missing)
    (tmp_path / "file").write_text("password")
    options = ("--password-file", tmp_path / "file", "--keystore", tmp_path / "file" / "keys")
    assert str(tmp_path / "file" / "keys") in fail("account", "new", *options)
    assert "no key files" in succeed("account", "list", "--keystore", missing)
    assert json.loads(succeed("account", "list", "--keystore", missing, "--json")) == []


@pytest.mark.parametrize(
    "amount", ["abc", "-1", "1.5wei", "0." + "1" * 19, "", ".", "1e3", "\u0661", "-1wei"]
)
def test_an_amount_that_is_none_is_refused_before_anything_is_asked(amount: str) -> None:
    done = run("account", "send", FIRST, FIRST, "--rpc", "http://127.0.0.1:1", "--", amount)
    assert done.code == 1
    assert "is no amount" in done.err
