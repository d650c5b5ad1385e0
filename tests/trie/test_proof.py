"""Proofs that prove nothing are refused, whatever is wrong with them."""

import pytest
import rlp as oracle_rlp
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ProofError
from ledger.trie.proof import NODE_BYTES_MAX, PROOF_NODES_MAX, verify_proof
from ledger.trie.trie import EMPTY_ROOT, Trie
from tests.trie.nodes_in_memory import NodesInMemory, rebuilt

MODEL = {keccak(i.to_bytes(2, "big")): bytes([1 + i % 255]) * 40 for i in range(500)}
ROOT, NODES = rebuilt(MODEL)
TRIE = Trie(NodesInMemory(NODES), b"", ROOT)
KEYS = list(MODEL)


def test_an_empty_trie_holds_nothing() -> None:
    assert Trie(NodesInMemory()).prove(KEYS[0]) == []
    assert verify_proof(EMPTY_ROOT, KEYS[0], []) is None
    with pytest.raises(ProofError):
        verify_proof(EMPTY_ROOT, KEYS[0], [b"\x80"])


@given(st.sampled_from(KEYS), st.binary(min_size=32, max_size=32))
def test_what_is_there_and_what_is_not(key: bytes, absent: bytes) -> None:
    assert verify_proof(ROOT, key, TRIE.prove(key)) == MODEL[key]
    assert verify_proof(ROOT, absent, TRIE.prove(absent)) == MODEL.get(absent)


@given(st.data())
def test_any_change_to_a_proof_is_refused(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(KEYS))
    proof = TRIE.prove(key)
    index = data.draw(st.integers(0, len(proof) - 1))
    node = proof[index]
    at = data.draw(st.integers(0, len(node) - 1))
    flipped = node[:at] + bytes([node[at] ^ data.draw(st.integers(1, 255))]) + node[at + 1 :]
    other = TRIE.prove(data.draw(st.sampled_from([k for k in KEYS if k != key])))
    for bad in (
        [*proof[:index], flipped, *proof[index + 1 :]],
        [*proof[:index], *proof[index + 1 :]],
        [*proof[:index], node[:at], *proof[index + 1 :]],
        [*proof[: index + 1], *proof[index:]],
        [*proof, data.draw(st.binary(max_size=40))],
        proof[::-1],
        other,
        [],
    ):
        with pytest.raises(ProofError):
            verify_proof(ROOT, key, bad)
    with pytest.raises(ProofError):
        verify_proof(keccak(ROOT), key, proof)


def root_over(*nodes: object) -> tuple[bytes, list[bytes]]:
    """A proof whose last node may be anything: a root commits to what its maker liked."""
    raws = [node if isinstance(node, bytes) else oracle_rlp.encode(node) for node in nodes]
    return keccak(raws[0]), raws


HASH = keccak(b"somewhere")
PADDING = b"p" * 40


@pytest.mark.parametrize(
    "node",
    [
        b"",
        b"\x80",
        b"\xc0",
        b"\x83abc",
        [b"\x20" + bytes(32)],
        [b"\x20" + bytes(32), b"v", b"w"],
        [b"\x20" + bytes(32), b""],
        [b"\x20" + bytes(32), [b"v"]],
        [b"\x21" + bytes(32), b"v"],
        [b"\x40" + bytes(32), b"v"],
        [b"", b"v"],
        [[b"\x20"], b"v"],
        [b"\x00", HASH],
        [b"\x01" + bytes(2), HASH],
        [b"\x10", b""],
        [b"\x10", HASH[:31]],
        [b"\x10", [PADDING, b"v"]],
        [b"\x10", [b"\x20", b"v", b"w"]],
        [HASH] * 16,
        [HASH] * 18,
        [HASH[:31]] * 16 + [b""],
        [HASH] * 16 + [[b"v"]],
        [[b"\x20", PADDING]] * 16 + [b""],
        [[b"\x20"]] * 16 + [b""],
        [[[[[[[[[b""]]]]]]]]] * 16 + [b""],
        oracle_rlp.encode([b"\x20" + bytes(32), PADDING]) + b"\0",
        b"\xf8\x05" + oracle_rlp.encode([b"\x20", b"v"])[1:],
        b"\xf9\x02\x11" + b"\xa0" * 529,
        b"\xf9\x02\x10" + (b"\xa0" + HASH) * 16 + b"\x80",
        b"\xf9\x02\x11" + (b"\xa0" + HASH) * 16,
        b"\xf8" * 60,
    ],
)
def test_malformed_nodes(node: object) -> None:
    """Even where the root commits to them; in the place of the root, and under a branch."""
    for root, proof in (
        root_over(node),
        root_over([keccak(root_over(node)[1][0])] * 16 + [b""], node),
    ):
        with pytest.raises(ProofError):
            verify_proof(root, bytes(32), proof)


def test_work_is_bounded() -> None:
    nodes: list[bytes] = [oracle_rlp.encode([b"\x20", b"v"])]
    for _ in range(70):
        nodes.append(oracle_rlp.encode([keccak(nodes[-1])] * 16 + [b""]))
    nodes.reverse()
    with pytest.raises(ProofError, match=str(PROOF_NODES_MAX)):
        verify_proof(keccak(nodes[0]), bytes(64), nodes)

    root, proof = root_over([b"\x20" + bytes(32), bytes(NODE_BYTES_MAX)])
    with pytest.raises(ProofError):
        verify_proof(root, bytes(32), proof)
