"""The trie against Ethereum's published vectors, all at once and write by write."""

import json
from collections.abc import Iterator

import pytest

from ledger.crypto.keccak import keccak256
from ledger.trie.trie import Trie
from tests.conftest import SHARED
from tests.trie.nodes_in_memory import NodesInMemory

FILES = {
    "trietest": False,
    "trieanyorder": False,
    "trietest_secureTrie": True,
    "trieanyorder_secureTrie": True,
    "hex_encoded_securetrie_test": True,
}


def to_bytes(text: str | None) -> bytes:
    if text is None:
        return b""
    return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()


def cases() -> Iterator[object]:
    folder = SHARED / "vectors" / "TrieTests"
    if not folder.exists():
        reason = "../shared/vectors/TrieTests is not beside this checkout"
        yield pytest.param(False, [], "", marks=pytest.mark.skip(reason=reason), id="TrieTests")
        return
    for file, is_secure in FILES.items():
        for name, case in json.loads((folder / f"{file}.json").read_text()).items():
            pairs = case["in"].items() if isinstance(case["in"], dict) else case["in"]
            writes = [(to_bytes(key), to_bytes(value)) for key, value in pairs]
            yield pytest.param(is_secure, writes, case["root"], id=f"{file}-{name}")


@pytest.mark.parametrize(("is_secure", "writes", "root"), list(cases()))
@pytest.mark.parametrize("batch_size", [1, 2, 1_000])
def test_published_roots(
    is_secure: bool, writes: list[tuple[bytes, bytes]], root: str, batch_size: int
) -> None:
    store = NodesInMemory()
    trie = Trie(store)
    for start in range(0, len(writes), batch_size):
        for key, value in writes[start : start + batch_size]:
            trie.set(keccak256(key) if is_secure else key, value)
        store.apply(trie.commit()[1])

    assert trie.root.hex() == root.removeprefix("0x")
