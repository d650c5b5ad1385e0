"""Proofs checked by who holds nothing but a root: the lists that eth_getProof gives.

A proof is the stored nodes from the root towards a key. It is walked with the code that walks a
trie, which holds every node to the hash that its parent names; only the reader differs.
"""

from collections.abc import Sequence

from ledger.errors import EncodingError, ProofError, StoreError
from ledger.trie.nodes import Path
from ledger.trie.trie import Trie
from ledger.types import Hash32

PROOF_NODES_MAX = 65
"""A key of 32 bytes has 64 nibbles, and each node but the last uses up one at least."""

NODE_BYTES_MAX = 1 << 17
"""A branch has 532 bytes, an account's leaf 150; a leaf may also hold the largest transaction."""


def verify_proof(root: Hash32, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The value that `proof` shows at a key under `root`; None if it shows that there is none.

    `key` is what the trie knows: for accounts and storage the hash. Raises ProofError where the
    nodes do not lead from the root to an answer, or more of them are given than that takes.
    """
    if len(proof) > PROOF_NODES_MAX:
        raise ProofError(f"a proof has {len(proof)} nodes, at most {PROOF_NODES_MAX} can count")
    nodes = _ProofReader(proof)
    try:
        value = Trie(nodes, b"", root).get(key)
    except StoreError as error:
        raise ProofError(
            f"node {nodes.used} of the proof is not the one that the root commits to; "
            "ask another node, or for the proof of this state"
        ) from error
    except EncodingError as error:
        raise ProofError(f"node {nodes.used} of the proof is no trie node: {error}") from error
    if nodes.used != len(proof):
        raise ProofError(f"the proof ends after {nodes.used} of its {len(proof)} nodes")
    return value


class _ProofReader:
    """Gives the nodes of a proof in the order in which a walk asks for them."""

    def __init__(self, proof: Sequence[bytes]) -> None:
        self._proof = proof
        self.used = 0

    def get_node(self, trie: bytes, path: Path) -> bytes | None:
        if self.used >= len(self._proof) or len(self._proof[self.used]) > NODE_BYTES_MAX:
            return None
        self.used += 1
        return self._proof[self.used - 1]
