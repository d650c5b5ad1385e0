"""Outcomes of a call, with plain functions in place of compiled code, so that they may misbehave.

The bytes of calls, results, events and errors are checked with eth-abi and web3.
"""

from collections import OrderedDict
from types import CellType, SimpleNamespace
from typing import Any

import eth_abi
import pytest
from web3 import Web3
from web3._utils.events import get_event_data
from web3.types import LogReceipt

from ledger.contract import cache
from ledger.contract.artifact import decode_payload, encode_payload
from ledger.contract.execution import (
    BlockContext,
    Message,
    Outcome,
    execute_call,
    execute_creation,
    price_source,
)
from ledger.contract.gas import GAS_DATA_WORD, GAS_LOAD, GAS_SOURCE_BYTE, GAS_SOURCE_TOKEN
from ledger.contract.interface import describe_abi
from ledger.contract.model import (
    ContractModel,
    Kind,
    MethodModel,
    Parameter,
    RecordModel,
    StorageField,
)
from ledger.contract.signals import NodeFault
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    BYTES,
    STRING,
    UINT256,
    ArrayType,
    FixedBytesType,
    IntType,
    ListType,
    RoleType,
    StructType,
    TupleType,
)
from ledger.crypto.keccak import keccak256
from ledger.encoding.abi import signature_types
from ledger.errors import ContractRejected, EncodingError, StoreError

U8, U64, I16 = IntType(8, False), IntType(64, False), IntType(16, True)
READING = StructType("Reading", (("import_wh", U64), ("delta", I16), ("ok", BOOL)))
CONTRACT, OWNER, OTHER = b"\xc0" * 20, b"\x01" * 20, b"\x02" * 20
SOURCE = b"source text"
BLOCK = BlockContext(5, 1_700_000_000, bytes(20), 15_000_000, 0, 1947)


def parameters(**types: Any) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, type) for name, type in types.items())


def method(name: str, kind: Kind, returns: Any = None, **options: Any) -> MethodModel:
    role, payable = options.pop("role", None), options.pop("payable", False)
    return MethodModel(name, kind, parameters(**options), returns, payable, role)


FIELDS = (
    StorageField("total", UINT256),
    StorageField("admins", RoleType()),
    StorageField("log_", ArrayType(U8)),
)
READING_LIST = ListType(READING)
METHODS = (
    method("__init__", Kind.CONSTRUCTOR, first_total=UINT256),
    method("set_total", Kind.WRITE, new_total=UINT256),
    method("get_total", Kind.VIEW, UINT256),
    method("get_all", Kind.VIEW, TupleType((READING, READING_LIST, STRING, BYTES))),
    method("echo_all", Kind.VIEW, READING_LIST, readings=READING_LIST, text=STRING, raw=BYTES),
    method("spy", Kind.VIEW, UINT256),
    method("pay_in", Kind.WRITE, payable=True),
    method("guarded", Kind.WRITE, role="admins"),
    method("small", Kind.VIEW, U8),
    method("tell", Kind.WRITE),
    method("refuse", Kind.WRITE),
    method("break_", Kind.WRITE, way=UINT256),
    method("swallow", Kind.WRITE),
)
TOLD = RecordModel(
    "Told",
    (
        Parameter("who", ADDRESS, indexed=True),
        Parameter("text", STRING, indexed=True),
        Parameter("tag", FixedBytesType(4), indexed=True),
        Parameter("reading", READING),
        Parameter("note", STRING),
    ),
)
KEPT = RecordModel(
    "Kept",
    (
        Parameter("readings", READING_LIST, indexed=True),
        Parameter("reading", READING, indexed=True),
    ),
)
TOO_LATE = RecordModel("TooLate", parameters(account=ADDRESS, by_seconds=U8, why=STRING))
MODEL = ContractModel("Plain", "", FIELDS, METHODS, (READING,), (TOLD, KEPT), (TOO_LATE,))
READINGS = [(7, -1, True), (2**64 - 1, 5, False)]


class Plain:
    """Stands where a compiled contract stands: plain functions over the host."""

    model = MODEL

    def bind(self, host: Any, env: Any, gas: int, out: Any) -> Any:
        def init(first_total: int) -> None:
            host.total = first_total
            host.admins.grant(host.msg.sender)

        def set_total(new_total: int) -> None:
            host.total = new_total

        def get_all() -> Any:
            readings = [env["Reading"](*each) for each in READINGS]
            return readings[0], readings, "grüße", b"\0" * 33

        def echo_all(readings: list[Any], text: str, raw: bytes) -> Any:
            assert [each.import_wh for each in readings] == [each[0] for each in readings]
            return readings

        def spy() -> int:
            host.total = 1
            return 1

        def small() -> int:
            return 256

        def tell() -> None:
            reading = env["Reading"](*READINGS[0])
            host.emit(env["Told"](who=OWNER, text="x", tag=b"abcd", reading=reading, note="hier"))
            host.emit(env["Kept"]([env["Reading"](*each) for each in READINGS], reading))

        def refuse() -> None:
            raise env["TooLate"](host.msg.sender, 9, why="zu spät")

        def break_(way: int) -> None:
            host.total = 99
            kinds = [ValueError, TypeError, RecursionError, MemoryError, OverflowError, OSError]
            if way < len(kinds):
                raise kinds[way]("Python's own words")
            raise env["TooLate"](OWNER, 256, "a value no uint8 holds")

        def swallow() -> None:
            while True:
                try:
                    for index in range(1_000):
                        host.total = index
                except BaseException:
                    return

        methods = {
            "__init__": init, "set_total": set_total, "get_total": lambda: host.total,
            "get_all": get_all, "echo_all": echo_all, "spy": spy, "pay_in": lambda: None,
            "guarded": lambda: None, "small": small, "tell": tell, "refuse": refuse,
            "break_": break_, "swallow": swallow,
        }  # fmt: skip
        return SimpleNamespace(method=methods.__getitem__, gas=CellType(gas))

    def release(self, bound: Any) -> None:
        pass


class Accounts:
    """The part of a state that execution touches."""

    def __init__(self) -> None:
        self.words: dict[bytes, int] = {}
        self.code: dict[bytes, bytes] = {}

    def get_storage(self, address: bytes, slot: bytes) -> int:
        return self.words.get(slot, 0)

    def set_storage(self, address: bytes, slot: bytes, word: int) -> None:
        self.words[slot] = word

    def get_code(self, address: bytes) -> bytes:
        return self.code[address]

    def get_code_hash(self, address: bytes) -> bytes:
        return keccak256(self.code[address])

    def set_code(self, address: bytes, code: bytes) -> None:
        self.code[address] = code


@pytest.fixture
def state(monkeypatch):
    compiled = []

    def compile_plain(source: bytes, filename: str) -> Plain:
        compiled.append(source)
        if source != SOURCE:
            raise ContractRejected("Syntax", 1, 0, "", "")
        return Plain()

    monkeypatch.setattr(cache, "compile_contract", compile_plain)
    monkeypatch.setattr(cache, "pack", lambda program: b"")
    for kept in ("_programs", "_packed"):
        monkeypatch.setattr(cache, kept, OrderedDict())
    state = Accounts()
    state.compiled = compiled
    outcome = create(state, encode_payload(SOURCE, eth_abi.encode(["uint256"], [41])))
    assert outcome.status == "success", outcome
    return state


def create(state: Any, data: bytes, gas: int = 1_000_000, value: int = 0) -> Outcome:
    message = Message(OWNER, CONTRACT, value, data, gas, False, OWNER, 0)
    return execute_creation(state, BLOCK, message)


def call(
    state: Any, signature: str, *values: Any, sender: bytes = OWNER, value: int = 0,
    gas: int = 1_000_000, tail: bytes = b"",
) -> Outcome:  # fmt: skip
    types = signature_types(signature)
    data = keccak256(signature.encode())[:4] + eth_abi.encode(types, values) + tail
    message = Message(sender, CONTRACT, value, data, gas, False, sender, 0)
    return execute_call(state, BLOCK, message)


def panic(code: int) -> bytes:
    return keccak256(b"Panic(uint256)")[:4] + code.to_bytes(32, "big")


# ---- success -------------------------------------------------------------------------------------


def test_the_constructor_runs_once_and_the_source_is_the_code(state):
    assert state.code == {CONTRACT: SOURCE}
    outcome = call(state, "getTotal()")
    assert outcome.status == "success"
    assert outcome.output == eth_abi.encode(["uint256"], [41])
    assert 0 < outcome.gas_left < 1_000_000


def test_a_source_is_compiled_once_per_code_hash(state):
    for total in range(3):
        assert call(state, "setTotal(uint256)", total).status == "success"
    assert len(state.compiled) == 1  # at the creation


def test_values_pass_the_doors_as_eth_abi_writes_them(state):
    outcome = call(state, "getAll()")
    types = ["(uint64,int16,bool)", "(uint64,int16,bool)[]", "string", "bytes"]
    assert outcome.output == eth_abi.encode(types, [READINGS[0], READINGS, "grüße", bytes(33)])

    echo = call(state, "echoAll((uint64,int16,bool)[],string,bytes)", READINGS, "ä", b"\xff")
    assert echo.output == eth_abi.encode(["(uint64,int16,bool)[]"], [READINGS])


def test_web3_reads_our_events_and_errors_with_our_abi(state):
    abi = describe_abi(MODEL)
    outcome = call(state, "tell()")
    assert [log.address for log in outcome.logs] == [CONTRACT, CONTRACT]
    told = {each["name"]: each for each in abi if each["type"] == "event"}
    logs = [
        LogReceipt(
            address=Web3.to_checksum_address(log.address), topics=list(log.topics), data=log.data,
            blockHash=bytes(32), blockNumber=1, logIndex=0, transactionHash=bytes(32),
            transactionIndex=0, removed=False,
        )
        for log in outcome.logs
    ]  # fmt: skip
    args = get_event_data(Web3().codec, told["Told"], logs[0])["args"]
    assert args["who"] == Web3.to_checksum_address(OWNER)
    assert args["text"] == keccak256(b"x")
    assert args["tag"] == b"abcd"
    assert args["note"] == "hier"
    assert tuple(args["reading"].values()) == READINGS[0]
    in_place = [eth_abi.encode(["uint64", "int16", "bool"], each) for each in READINGS]
    assert outcome.logs[1].topics[1:] == (keccak256(b"".join(in_place)), keccak256(in_place[0]))

    refused = call(state, "refuse()")
    error = next(each for each in abi if each["type"] == "error" and each["name"] == "TooLate")
    assert [each["name"] for each in error["inputs"]] == ["account", "bySeconds", "why"]
    expected = eth_abi.encode(["address", "uint8", "string"], [OWNER, 9, "zu spät"])
    assert (refused.status, refused.output) == (
        "revert",
        keccak256(b"TooLate(address,uint8,string)")[:4] + expected,
    )


def test_the_abi_is_what_web3_takes():
    contract = Web3().eth.contract(abi=describe_abi(MODEL), bytecode="0xEF574C01")
    data = contract.encode_abi("echoAll", [[READINGS[0]], "a", b"b"])
    assert data[2:10] == keccak256(b"echoAll((uint64,int16,bool)[],string,bytes)")[:4].hex()
    assert contract.functions.payIn().abi["stateMutability"] == "payable"
    assert contract.functions.getTotal().abi["stateMutability"] == "view"
    names = {each["name"] for each in describe_abi(MODEL) if each["type"] == "function"}
    assert "break" in names and "getAll" in names
    components = next(each for each in describe_abi(MODEL) if each.get("name") == "getAll")
    assert components["outputs"][1] == {
        "name": "",
        "type": "tuple[]",
        "internalType": "struct Plain.Reading[]",
        "components": [
            {"name": "importWh", "type": "uint64", "internalType": "uint64"},
            {"name": "delta", "type": "int16", "internalType": "int16"},
            {"name": "ok", "type": "bool", "internalType": "bool"},
        ],
    }


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\xde\xad\xbe\xef", keccak256(b"setTotal(uint256)")[:4]]
)
def test_a_call_that_reaches_no_method_reverts_without_data(state, data):
    message = Message(OWNER, CONTRACT, 0, data, 100_000, False, OWNER, 0)
    outcome = execute_call(state, BLOCK, message)
    assert (outcome.status, outcome.output) == ("revert", b"")


def test_call_data_is_decoded_strictly(state):
    outcome = call(state, "setTotal(uint256)", 1, tail=b"\0")
    assert (outcome.status, outcome.output) == ("revert", b"")
    raw = keccak256(b"echoAll((uint64,int16,bool)[],string,bytes)")[:4] + bytes(96)
    outcome = execute_call(state, BLOCK, Message(OWNER, CONTRACT, 0, raw, 10**6, False, OWNER, 0))
    assert (outcome.status, outcome.output) == ("revert", b"")


def test_only_a_payable_method_takes_coin(state):
    assert call(state, "payIn()", value=1).status == "success"
    outcome = call(state, "setTotal(uint256)", 1, value=1)
    assert (outcome.status, outcome.output) == ("revert", b"")
    payload = encode_payload(SOURCE, eth_abi.encode(["uint256"], [41]))
    assert create(state, payload, value=1).status == "revert"


def test_a_caller_without_the_role_is_told_which(state):
    assert call(state, "guarded()").status == "success"
    outcome = call(state, "guarded()", sender=OTHER)
    selector = keccak256(b"Unauthorized(address,string)")[:4]
    assert outcome.status == "revert"
    assert outcome.output == selector + eth_abi.encode(["address", "string"], [OTHER, "admins"])
    assert "Unauthorized" in {each.get("name") for each in describe_abi(MODEL)}


def test_a_view_cannot_write_even_where_its_code_does(state):
    outcome = call(state, "spy()")
    assert (outcome.status, outcome.output) == ("panic", panic(0x57))
    assert call(state, "getTotal()").output == eth_abi.encode(["uint256"], [41])


def test_a_result_outside_its_type_is_a_panic(state):
    outcome = call(state, "small()")
    assert (outcome.status, outcome.output) == ("panic", panic(0x11))
    outcome = call(state, "break(uint256)", 9)
    assert (outcome.status, outcome.output) == ("panic", panic(0x11))


@pytest.mark.parametrize("way", [0, 1, 4])
def test_nothing_of_pythons_words_reaches_an_outcome(state, way):
    outcome = call(state, "break(uint256)", way)
    assert (outcome.status, outcome.output) == ("panic", panic(0))


@pytest.mark.parametrize("way", [2, 3, 5])
def test_a_failure_of_this_machine_is_no_outcome(state, way):
    with pytest.raises(NodeFault):
        call(state, "break(uint256)", way)


def test_a_disk_that_fails_is_no_outcome(state, monkeypatch):
    def fail(address: bytes, slot: bytes) -> int:
        raise StoreError("a node is missing")

    monkeypatch.setattr(state, "get_storage", fail)
    with pytest.raises(StoreError):
        call(state, "getTotal()")


def test_out_of_gas_counts_even_where_the_code_hides_it(state):
    outcome = call(state, "swallow()", gas=50_000)
    assert (outcome.status, outcome.gas_left, outcome.output) == ("out_of_gas", 0, b"")
    assert outcome.logs == []


@pytest.mark.parametrize("gas", [0, 599, 640])
def test_the_door_itself_is_charged(state, gas):
    assert call(state, "getTotal()", gas=gas).status == "out_of_gas"


@pytest.mark.parametrize("signature", ["setTotal(uint256)", "tell()", "refuse()", "getAll()"])
def test_the_gas_used_suffices_and_one_less_does_not(state, signature):
    values = [7] if "uint256" in signature else []
    outcome = call(state, signature, *values)
    used = 1_000_000 - outcome.gas_left
    again = call(state, signature, *values, gas=used)
    assert (again.status, again.output, again.gas_left) == (outcome.status, outcome.output, 0)
    assert call(state, signature, *values, gas=used - 1).status == "out_of_gas"


def test_each_word_of_a_result_is_charged(state):
    one = call(state, "getTotal()").gas_left
    many = call(state, "getAll()")
    words = len(many.output) // 32
    assert one - many.gas_left == (words - 1) * GAS_DATA_WORD - GAS_LOAD


# ---- creation ------------------------------------------------------------------------------------


def test_a_payload_is_its_prefix_a_length_and_the_rest():
    payload = encode_payload(b"class", b"args")
    assert payload == bytes.fromhex("EF574C01 00000005") + b"class" + b"args"
    assert decode_payload(payload) == (b"class", b"args")
    for wrong in (b"", payload[:7], payload[:10], b"\x60" + payload[1:]):
        with pytest.raises(EncodingError):
            decode_payload(wrong)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes.fromhex("6080604052"),
        encode_payload(b"not a contract"),
        encode_payload(SOURCE),
        encode_payload(SOURCE, eth_abi.encode(["uint256"], [41]) + b"\0"),
    ],
)
def test_a_creation_that_cannot_be_reverts_without_data(state, data):
    state.code.clear()
    outcome = create(state, data)
    assert (outcome.status, outcome.output) == ("revert", b"")
    assert state.code == {}


def test_a_source_is_charged_before_it_is_read(state):
    words = b"some four words ," * 100
    price = price_source(words)
    assert price == GAS_SOURCE_BYTE * len(words) + GAS_SOURCE_TOKEN * 400
    assert create(state, encode_payload(words), gas=price - 1).status == "out_of_gas"
    assert words not in state.compiled
    assert create(state, encode_payload(words), gas=price).status == "revert"
    assert words in state.compiled
