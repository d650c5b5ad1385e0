"""Hashes, signatures, encodings, rounding and constants, against Ethereum's own Python packages."""

from fractions import Fraction
from types import CellType
from typing import Any

import pytest
from eth_abi import encode as eth_encode
from eth_abi.packed import encode_packed as eth_packed
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from ledger.contract.compile import compile_contract
from ledger.contract.helpers import Sized
from ledger.contract.testing import Chain
from ledger.crypto.keccak import keccak256
from ledger.errors import ContractRejected

SOURCE = '''
"""What a contract hashes, encodes and rounds."""

from ledger.contract import (Contract, Enum, Fixed, Struct, ZERO_ADDRESS, abi_decode, abi_encode,
    abi_encode_packed, address, bytes32, coin_balance, ecrecover, eip712_digest, eip712_domain,
    has_code, hash_struct, int64, keccak256, mul_div, ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN,
    ROUND_HALF_UP, string, uint8, uint16, uint64, uint256, view, write)

HOUR = 60 * 60
DAY = 24 * HOUR
ETHER = 10**18
MASK = (1 << 128) - 1
LOW = -DAY
MAIL = keccak256(b"Mail(address to,string text)")
FIRST: bytes32 = keccak256(b"first")


class Kind(Enum):
    A = 0
    B = 1


CHOSEN = Kind.B


class Person(Struct):
    name: string
    wallet: address


class Mail(Struct):
    sender: Person
    sent_at: uint64
    to: list[Person]
    body: string


class Functions(Contract):
    _stored: uint16

    @view
    def constants(self) -> tuple[uint256, uint256, int64, bytes32, Kind]:
        return DAY + ETHER, MASK, LOW, FIRST, CHOSEN

    @view
    def hashed(self, data: bytes) -> bytes32:
        return keccak256(data)

    @view
    def mail_type(self) -> bytes32:
        return MAIL

    @view
    def signer(self, digest: bytes32, signature: bytes) -> address:
        return ecrecover(digest, signature)

    @view
    def signer_of_parts(self, digest: bytes32, v: uint8, r: bytes32, s: bytes32) -> address:
        return ecrecover(digest, v, r, s)

    @view
    def digest(self, mail: Mail) -> bytes32:
        return eip712_digest(eip712_domain("Post", "1"), hash_struct(mail))

    @view
    def encoded(self, a: uint8, b: int64, text: string, names: list[string], who: Person) -> bytes:
        return abi_encode(a, b, -1, text, names, who, True, MAIL, Kind.B, self._stored)

    @view
    def packed(self, a: uint16, who: address, text: string, many: list[uint8]) -> bytes:
        b: uint64 = a + 1
        return abi_encode_packed(a, who, text, many, True, MAIL, uint256(a * 2), b, self._stored)

    @view
    def decoded(self, data: bytes) -> tuple[uint64, string, list[address]]:
        number, text, accounts = abi_decode(data, uint64, string, list[address])
        return number + 1, text, accounts

    @view
    def decoded_one(self, data: bytes) -> uint256:
        return abi_decode(data, uint8) + 1

    @view
    def divided(self, a: int64, b: int64, c: int64) -> tuple[int64, int64, int64, int64]:
        return (mul_div(a, b, c, ROUND_FLOOR), mul_div(a, b, c, ROUND_CEILING),
            mul_div(a, b, c, ROUND_HALF_UP), mul_div(a, b, c, ROUND_HALF_EVEN))

    @view
    def share(self, amount: uint256) -> uint256:
        return mul_div(amount, MASK * MASK, MASK * MASK, ROUND_FLOOR)

    @view
    def about(self, account: address) -> tuple[uint256, bool]:
        return coin_balance(account), has_code(account)
'''
ALICE = Account.from_key(b"\x11" * 32)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("functions") / "functions_contract.py"
    path.write_text(SOURCE)
    return Chain().deploy(path, sender="alice")


def test_constants_are_worked_out_when_the_source_is_read(contract: Any) -> None:
    expected = (86_400 + 10**18, 2**128 - 1, -86_400, keccak256(b"first"), 1)
    assert tuple(contract.constants()) == expected
    assert contract.mail_type() == keccak256(b"Mail(address to,string text)")


def test_hashes_are_ethereums(contract: Any) -> None:
    assert contract.hashed(b"") == keccak256(b"")
    assert contract.hashed(b"x" * 1_000) == keccak256(b"x" * 1_000)


def test_signers_are_recovered_or_nobody(contract: Any) -> None:
    digest = keccak256(b"message")
    signed = ALICE.unsafe_sign_hash(digest)
    address = bytes.fromhex(ALICE.address[2:])
    assert contract.signer(digest, bytes(signed.signature)) == address
    r, s = signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
    assert contract.signer_of_parts(digest, signed.v, r, s) == address
    assert contract.signer_of_parts(digest, signed.v - 27, r, s) == address
    assert contract.signer_of_parts(digest, 26, r, s) == bytes(20)
    assert contract.signer_of_parts(digest, 255, r, s) == bytes(20)
    assert contract.signer_of_parts(digest, 27, bytes(32), s) == bytes(20)
    assert contract.signer(digest, b"short") == bytes(20)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - signed.s).to_bytes(32, "big")
    assert contract.signer_of_parts(digest, 55 - signed.v, r, high) == bytes(20)


def test_typed_data_is_hashed_as_wallets_do(contract: Any) -> None:
    chain_id = contract.chain.chain_id if hasattr(contract, "chain") else 1947
    person = [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}]
    mail = {
        "sender": {"name": "Cow", "wallet": "0x" + "11" * 20},
        "sentAt": 7,
        "to": [
            {"name": "Bob", "wallet": "0x" + "22" * 20},
            {"name": "", "wallet": "0x" + "0" * 40},
        ],
        "body": "Hello \u00e9",
    }
    full = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Person": person,
            "Mail": [
                {"name": "sender", "type": "Person"},
                {"name": "sentAt", "type": "uint64"},
                {"name": "to", "type": "Person[]"},
                {"name": "body", "type": "string"},
            ],
        },
        "primaryType": "Mail",
        "domain": {
            "name": "Post",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": "0x" + contract.address.hex(),
        },
        "message": mail,
    }
    signable = encode_typed_data(full_message=full)
    expected = keccak256(b"\x19" + signable.version + signable.header + signable.body)
    people = [("Bob", b"\x22" * 20), ("", bytes(20))]
    assert contract.digest((("Cow", b"\x11" * 20), 7, people, "Hello \u00e9")) == expected


def test_encodings_are_soliditys(contract: Any) -> None:
    types = ["uint8", "int64", "int256", "string", "string[]", "(string,address)", "bool"]
    values = [5, -9, -1, "text", ["a", "b" * 40], ("who", "0x" + "33" * 20), True]
    mail = keccak256(b"Mail(address to,string text)")
    wanted = eth_encode([*types, "bytes32", "uint8", "uint16"], [*values, mail, 1, 0])
    assert contract.encoded(5, -9, "text", ["a", "b" * 40], ("who", b"\x33" * 20)) == wanted
    head = eth_packed(["uint16", "address", "string"], [300, "0x" + "44" * 20, "t"])
    items = eth_encode(["uint8", "uint8"], [1, 2])  # solc pads the items of an array, eth_abi not
    types = ["bool", "bytes32", "uint256", "uint64", "uint16"]
    tail = eth_packed(types, [True, mail, 600, 301, 0])
    assert contract.packed(300, b"\x44" * 20, "t", [1, 2]) == head + items + tail


def test_decoding_is_strict(contract: Any) -> None:
    data = eth_encode(["uint64", "string", "address[]"], [8, "t", ["0x" + "55" * 20]])
    assert tuple(contract.decoded(data)) == (9, "t", [b"\x55" * 20])
    assert contract.decoded_one(eth_encode(["uint8"], [255])) == 256
    for bad in (data[:-1], data + b"\0", b"", eth_encode(["uint256"], [256])):
        with pytest.raises(Exception, match="0x11"):
            contract.decoded_one(bad)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**3), 10**3), st.integers(-50, 50))
def test_mul_div_rounds_as_its_name_says(a: int, b: int, c: int) -> None:
    sized = Sized()
    sized.gas = CellType(1_000_000)
    if c == 0:
        return
    exact = Fraction(a * b, c)
    floor = exact.numerator // exact.denominator
    assert sized.mul_div(a, b, c, "ROUND_FLOOR") == floor
    assert sized.mul_div(a, b, c, "ROUND_CEILING") == -((-exact.numerator) // exact.denominator)
    assert sized.mul_div(a, b, c, "ROUND_HALF_EVEN") == round(exact)
    half_up = sized.mul_div(a, b, c, "ROUND_HALF_UP")
    assert abs(half_up - exact) <= Fraction(1, 2)
    if abs(half_up - exact) == Fraction(1, 2):
        assert abs(half_up) > abs(exact)


def test_mul_div_in_a_contract(contract: Any) -> None:
    assert tuple(contract.divided(7, 1, 2)) == (3, 4, 4, 4)
    assert tuple(contract.divided(-5, 1, 2)) == (-3, -2, -3, -2)
    assert contract.share(2**256 - 1) == 2**256 - 1
    with pytest.raises(Exception, match="0x12"):
        contract.divided(1, 1, 0)


def test_an_accounts_coin_and_code(contract: Any) -> None:
    assert tuple(contract.about(b"\x66" * 20)) == (0, False)
    assert tuple(contract.about(contract.address)) == (0, True)


REFUSED = r"""
type     | return keccak256("text")
type     | return keccak256(a)
type     | return keccak256()
form     | return keccak256(data=data)
type     | return ecrecover(data, data)
type     | return ecrecover(MAIL, 256, MAIL, MAIL)
type     | return ecrecover(MAIL)
type     | return abi_encode()
attribute| return abi_encode(self.packed)
handle   | return abi_encode(self)
type     | return abi_encode_packed(a + 1)
type     | return abi_encode_packed(Person("x", ZERO_ADDRESS))
type     | return abi_decode(data)
annotation | return abi_decode(data, Map)
annotation | return abi_decode(data, a)
type     | return mul_div(a, a, a)
type     | return mul_div(a, a, a, 1)
type     | return mul_div(a, a, a, "ROUND_FLOOR")
type     | return hash_struct(a)
type     | return eip712_domain(data, "1")
type     | return coin_balance(a)
binding  | keccak256 = a\nreturn data
binding  | mul_div = a\nreturn data
name     | return ROUND_FLOOR
attribute| return self.keccak256__(data)
name     | return keccak256.data
"""


@pytest.mark.parametrize(
    ("rule", "body"), [line.split("|", 1) for line in REFUSED.strip().splitlines()]
)
def test_a_wrong_call_is_refused_by_its_name(rule: str, body: str) -> None:
    lines = body.strip().replace("\\n", "\n        ")
    tail = f"    @view\n    def run(self, a: uint256, data: bytes) -> bytes:\n        {lines}\n"
    with pytest.raises(ContractRejected) as caught:
        compile_contract((SOURCE + tail).encode())
    assert caught.value.rule == rule.strip(), caught.value


CONSTANTS = r"""
constant | X = 1 // 0
constant | X = 5 % 0
literal  | X = 1 << 257
literal  | X = 2 ** 10000000000
literal  | X = 1 << 10000000000
literal  | X = 2 ** -1
literal  | X = 1 >> -1
literal  | X = (2 ** 200) * (2 ** 200)
constant | X = True + 1
constant | X = "a" + "b"
constant | X = unknown
constant | X = keccak256("text")
constant | X = keccak256(b"x", b"y")
constant | X = mul_div(1, 2, 3, ROUND_FLOOR)
constant | X = [1, 2]
constant | X = Kind.C
form     | X = 3 / 2
constant | X = Kind.B + 1
type     | X: uint8 = 2 ** 8
type     | X: bytes32 = b"short"
constant | X: uint8
constant | X = Y = 1
"""


@pytest.mark.parametrize(
    ("rule", "line"), [line.split("|", 1) for line in CONSTANTS.strip().splitlines()]
)
def test_a_wrong_constant_is_refused_by_its_name(rule: str, line: str) -> None:
    source = SOURCE.replace("CHOSEN = Kind.B\n", f"CHOSEN = Kind.B\n{line.strip()}\n")
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source.encode())
    assert caught.value.rule == rule.strip(), caught.value
