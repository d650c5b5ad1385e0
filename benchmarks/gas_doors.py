"""More cases of `gas`: what a contract asks of its host by name, and of other contracts."""

from typing import Any

from benchmarks.gas_cases import Case, case
from ledger.crypto.address import address_of
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import sign_compact

KEY = keccak256(b"key")
OTHER = keccak256(b"other")[12:]
OTHER_SOURCE = """from ledger.contract import Contract, Revert, Struct, uint256, view, write
class No(Revert):
    why: uint256
class Other(Contract):
    total: uint256
    @view
    def peek(self) -> uint256:
        return 5
    @write
    def fail(self) -> None:
        raise No(3)
    @write
    def keep(self, value: uint256) -> None:
        self.total = value
    @write
    def spin(self) -> None:
        while True:
            pass
"""
PROXY = (
    "class No(Revert):|    why: uint256|class Other(Interface):|    @view"
    "|    def peek(self) -> uint256: ...|    @write|    def fail(self) -> None: ..."
    "|    @write|    def keep(self, value: uint256) -> None: ...|    @write"
    "|    def spin(self) -> None: ..."
)
MEMBERS = "class Order(Struct):|    seller: address|    amount: uint256|    note: string"


def function_cases() -> list[Case]:
    digest = keccak256(b"digest")
    signature = sign_compact(KEY, digest)
    signed: dict[str, Any] = {
        "parameters": "d: bytes32, s: bytes",
        "types": ("bytes32", "bytes"),
        "values": (digest, signature),
    }
    text: dict[str, Any] = {"parameters": "a: bytes, t: string", "types": ("bytes", "string")}
    many: dict[str, Any] = {"parameters": "a: list[uint256]", "types": ("uint256[]",)}
    cases = [
        case("ecrecover", "c = ecrecover(d, s)", **signed),
        case("ecrecover of nobody", "c = ecrecover(d, s)",
             **{**signed, "values": (digest, b"\xff" * 65)}),
        case("ecrecover of a hard r", "c = ecrecover(d, s)",
             **{**signed, "values": (digest, bytes(31) + b"\x05" + bytes(31) + b"\x07\0")}),
        case("mul_div", "c = mul_div(a, b, b, ROUND_HALF_EVEN)", types=("uint256",) * 2,
             parameters="a: uint256, b: uint256", values=(2**256 - 1, 2**255 + 9)),
        case("uint64(x)", "c = uint64(a)", parameters="a: uint256", types=("uint256",),
             values=(5,)),
        case("coin_balance", "c = coin_balance(self.msg.sender)"),
        case("has_code", "c = has_code(self.msg.sender)"),
        case("eip712_digest", "c = eip712_digest(d, d)", **signed),
        case("hash_struct", "c = hash_struct(o)", more=MEMBERS,
             setup='o = Order(self.msg.sender, turns, "note")'),
    ]  # fmt: skip
    for size in (3, 1_000, 30_000):
        given = (b"a" * size, "\u4e16" * (size // 3))
        cases += [
            case(f"keccak256 of {size}", "c = keccak256(a)", values=given, **text),
            case(f"abi_encode of {size}", "c = abi_encode(a, t)", values=given, **text),
            case(f"abi_encode_packed of {size}", "c = abi_encode_packed(a, t)",
                 values=given, **text),
            case(f"abi_decode of {size}", "c, e = abi_decode(b, bytes, string)",
                 setup="b = abi_encode(a, t)", values=given, **text),
            case(f"eip712_domain of {size}", "c = eip712_domain(t, t)", values=given, **text),
        ]  # fmt: skip
    for size in (1, 1_000):
        options: dict[str, Any] = {**many, "values": ([2**255] * size,)}
        cases += [
            case(f"abi_encode of a list of {size}", "c = abi_encode(a)", **options),
            case(f"abi_decode of a list of {size}", "c = abi_decode(b, list[uint256])",
                 setup="b = abi_encode(a)", **options),
            case(f"list {size} copy", "c = list(a)", **options),
        ]  # fmt: skip
    return cases


def remote_cases() -> list[Case]:
    options: dict[str, Any] = {
        "parameters": "o: address",
        "types": ("address",),
        "values": (OTHER,),
        "more": PROXY,
        "others": ((OTHER, OTHER_SOURCE),),
    }
    caught = "try:|    Other(o).fail()|except No as e:|    c = e.why"
    starved = "try:|    Other(o, gas=5000).fail()|except CallFailed:|    pass"
    return [
        case("remote view", "c = Other(o).peek()", **options),
        case("remote write", "Other(o).keep(turn)", **options),
        case("remote failure caught", caught, **options),
        case("remote call of nobody caught",
             "try:|    Other(self.msg.sender).keep(1)|except CallFailed:|    pass", **options),
        case("remote call with little gas", starved, **options),
    ]  # fmt: skip


assert address_of(KEY)
DOOR_CASES = [*function_cases(), *remote_cases()]
