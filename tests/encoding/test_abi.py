"""The ABI against the published cases, against eth-abi, and against hostile bytes."""

import json
import tracemalloc

import eth_abi
import pytest
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import abi
from ledger.errors import EncodingError
from tests.conftest import shared_path

WORD = 32


def scalar_types() -> st.SearchStrategy[str]:
    bits = st.integers(1, 32).map(lambda size: 8 * size)
    return st.one_of(
        bits.map(lambda width: f"uint{width}"),
        bits.map(lambda width: f"int{width}"),
        st.integers(1, 32).map(lambda size: f"bytes{size}"),
        st.sampled_from(["bytes", "string", "bool", "address"]),
    )


def wider_types(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        inner.map(lambda name: name + "[]"),
        st.tuples(inner, st.integers(1, 3)).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda names: f"({','.join(names)})"),
    )


TYPES = st.recursive(scalar_types(), wider_types, max_leaves=4)


def values_of(name: str) -> st.SearchStrategy[object]:
    """Values of a type, worked out from its text alone."""
    if name.endswith("]"):
        element, _, length = name[:-1].rpartition("[")
        sizes = {"min_size": int(length), "max_size": int(length)} if length else {"max_size": 3}
        return st.lists(values_of(element), **sizes)
    if name.startswith("("):
        return st.tuples(*[values_of(member) for member in split_members(name)])
    if name == "bool":
        return st.booleans()
    if name == "string":
        return st.text(max_size=40)
    if name == "bytes":
        return st.binary(max_size=70)
    if name == "address":
        return st.binary(min_size=20, max_size=20)
    digits = int(name.lstrip("uintbyes"))
    if name.startswith("bytes"):
        return st.binary(min_size=digits, max_size=digits)
    if name.startswith("uint"):
        return st.integers(0, 2**digits - 1)
    return st.integers(-(2 ** (digits - 1)), 2 ** (digits - 1) - 1)


def split_members(name: str) -> list[str]:
    members, depth = [""], 0
    for letter in name[1:-1]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            members.append("")
        else:
            members[-1] += letter
    return members


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[list[str], list[object]]:
    types = draw(st.lists(TYPES, max_size=4))
    return types, [draw(values_of(name)) for name in types]


def as_oracle_value(name: str, value: object) -> object:
    """eth-abi wants addresses as text and gives arrays as tuples."""
    if name.endswith("]"):
        return tuple(as_oracle_value(name[: name.rindex("[")], child) for child in value)
    if name.startswith("("):
        members = zip(split_members(name), value, strict=True)
        return tuple(as_oracle_value(member, child) for member, child in members)
    return "0x" + value.hex() if name == "address" else value


def test_published_cases():
    cases = json.loads(shared_path("vectors", "ABITests", "basic_abi_tests.json").read_text())
    for name, case in cases.items():
        values = []
        for kind, value in zip(case["types"], case["args"], strict=True):
            if kind == "address":
                value = bytes.fromhex(value[2:])
            elif kind.startswith("bytes"):
                value = value.encode()
            values.append(value)
        encoded = bytes.fromhex(case["result"])
        assert abi.encode(case["types"], values) == encoded, name
        assert abi.decode(case["types"], encoded) == tuple(values), name
    assert len(cases) == 3


@given(typed_values())
def test_same_bytes_as_eth_abi(typed):
    types, values = typed
    encoded = abi.encode(types, values)
    theirs = [as_oracle_value(name, value) for name, value in zip(types, values, strict=True)]
    assert encoded == eth_abi.encode(types, theirs)
    decoded = abi.decode(types, encoded)
    assert decoded == tuple(values)
    assert eth_abi.decode(types, encoded) == tuple(theirs)


@given(typed_values(), st.data())
def test_what_decodes_has_one_encoding(typed, data):
    types, values = typed
    encoded = bytearray(abi.encode(types, values))
    if encoded:
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = abi.decode(types, bytes(encoded))
    except EncodingError:
        return
    assert abi.encode(types, decoded) == encoded


@given(st.lists(TYPES, max_size=3), st.binary(max_size=300))
def test_any_bytes_are_refused_or_decoded(types, data):
    try:
        decoded = abi.decode(types, data)
    except EncodingError:
        return
    assert abi.encode(types, decoded) == data


@given(typed_values(), st.integers(1, 64))
def test_cut_or_lengthened_data_is_refused(typed, count):
    types, values = typed
    encoded = abi.encode(types, values)
    with pytest.raises(EncodingError):
        abi.decode(types, encoded + bytes(count))
    if encoded:
        with pytest.raises(EncodingError):
            abi.decode(types, encoded[:-count])


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("uint8", 256),
        ("uint64", 2**64),
        ("int8", 128),
        ("int8", 2**256 - 129),
        ("int64", 2**255),
        ("bool", 2),
        ("bool", 2**255),
        ("address", 2**160),
        ("bytes4", 1),
        ("bytes31", 1),
    ],
)
def test_padding_is_canonical(name, word):
    with pytest.raises(EncodingError):
        abi.decode([name], word.to_bytes(WORD, "big"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", True),
        ("uint8", "1"),
        ("uint8", 1.0),
        ("int8", 128),
        ("int8", -129),
        ("bool", 1),
        ("address", bytes(19)),
        ("address", "0x" + 40 * "0"),
        ("bytes4", bytes(3)),
        ("bytes4", bytes(5)),
        ("bytes", "text"),
        ("string", b"text"),
        ("string", "\ud800"),
        ("uint8[]", 5),
        ("uint8[2]", [1]),
        ("uint8[2]", [1, 2, 3]),
        ("(uint8,bool)", (1,)),
        ("(uint8,bool)", 7),
    ],
)
def test_values_out_of_the_type_are_refused_by_name(name, value):
    with pytest.raises(EncodingError, match="cannot hold"):
        abi.encode([name], [value])


def test_one_value_for_each_type():
    with pytest.raises(EncodingError):
        abi.encode(["uint8"], [])
    with pytest.raises(EncodingError):
        abi.encode([], [1])
    assert abi.encode([], []) == b""
    assert abi.decode([], b"") == ()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "uint",
        "int",
        "uint7",
        "uint08",
        "uint264",
        "int0",
        "bytes0",
        "bytes33",
        "byte",
        "fixed128x18",
        "function",
        "tuple",
        "()",
        "(uint8",
        "(uint8,)",
        "(,uint8)",
        "uint8)",
        "uint8[",
        "uint8[0]",
        "uint8[01]",
        "uint8[-1]",
        "uint8[999999]",
        "uint8[1000][1000]",
        "(uint8[30000],uint8[30000])",
        "uint8 ",
        " uint8",
        "uint\u0668",
        "uint8" + "[]" * 9,
        "(" * 9 + "uint8" + ")" * 9,
        "(" * 5_000,
        "uint8" + "[1]" * 5_000,
    ],
)
def test_what_is_no_type(name):
    with pytest.raises(EncodingError):
        abi.codec((name,))


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(WORD, "big") for number in numbers)


@pytest.mark.parametrize(
    ("types", "data"),
    [
        (["bytes"], words(2**255)),
        (["bytes"], words(0)),
        (["bytes"], words(WORD, 2**256 - 1)),
        (["bytes"], words(64, 0, 0)),
        (["string"], words(WORD, 1) + b"\xff" + bytes(31)),
        (["bytes"], words(WORD, 1) + b"\xff" + bytes(30) + b"\x01"),
        (["uint256[]"], words(WORD, 2**60)),
        (["uint256[]"], words(WORD, 2**255)),
        (["uint256[]"], words(WORD, 2, 7)),
        (["uint256[][]"], words(WORD, 2, 64, 64, 0)),  # two elements share one tail
        (["bytes", "bytes"], words(64, 64, 0)),
        (["(bytes)"], words(WORD, 0)),
    ],
)
def test_hostile_lengths_and_offsets(types, data):
    with pytest.raises(EncodingError):
        abi.decode(types, data)


@pytest.mark.timeout(30)  # the work that is refused would take hours
def test_a_small_message_cannot_ask_for_much_work():
    """Arrays of arrays that all point at one tail grow as a power of the size elsewhere."""
    data = words(WORD, 2**32, *[0] * 4_000)
    for name in ("uint256[][][][][]", "bytes[]", "string[][]", "uint8[30000]"):
        with pytest.raises(EncodingError):
            abi.decode([name], data)


def test_signatures():
    signature = "setDebt(uint256,uint256,address)"
    assert abi.selector(signature) == keccak(text=signature)[:4]
    assert abi.topic("UserAdded(address)") == keccak(text="UserAdded(address)")
    assert abi.signature_types(signature) == ("uint256", "uint256", "address")
    assert abi.signature_types("f()") == ()
    assert abi.signature_types("f((uint8,bytes)[],bool)") == ("(uint8,bytes)[]", "bool")
    user = bytes(range(20))
    assert abi.encode_call(signature, [1, 2, user]) == (
        abi.selector(signature) + abi.encode(["uint256", "uint256", "address"], [1, 2, user])
    )
    for bad in ("f", "f(", "(uint8)", "f(uint8))", "f(uint8)(bool)", "f(uint)", "1f()"):
        with pytest.raises(EncodingError):
            abi.signature_types(bad)


def test_a_fixed_list_takes_no_memory_by_its_length() -> None:
    """Each bool[4000][] kept 455 kB, whoever asked for it."""
    tracemalloc.start()
    try:
        made = [abi.codec((f"bool[{size}][]", f"uint8[{size}]")) for size in range(4_000, 4_040)]
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert made[0].decode(made[0].encode(([[True] * 4_000], [7] * 4_000)))[1] == [7] * 4_000
    assert taken < 40 * 20_000
