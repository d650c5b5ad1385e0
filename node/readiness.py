"""A candidate says that it is ready: the transaction from which on a new validator counts.

A node whose key was voted in, or rotated to, sends `ready(height, hash)` of its head to the network
contract once it follows the chain. Until then nobody waits for its votes. Not here: who is a
candidate (`ledger.permissions`), what the transaction does (`contracts_py/network.py`).
"""

import asyncio
import time
from typing import TYPE_CHECKING

from ledger.encoding import abi
from ledger.genesis import NETWORK_CONTRACT
from ledger.permissions import read_candidates
from ledger.transaction import sign_transaction

if TYPE_CHECKING:
    from node.node import Node

AGAIN_S = 10.0
"""After a transaction that came into no block: a head that is not recent any more, say."""
GAS = 5_000_000
"""A fifth of a block by default; walking the lists of 100 validators takes a tenth of it."""


class Readiness:
    """Looks once a second; costs a read of one word while this node is no candidate."""

    def __init__(self, node: "Node", private_key: bytes) -> None:
        self._node = node
        self._key = private_key
        self._again_at = 0.0
        self._sending: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Send `ready` where it is due."""
        node = self._node
        if time.monotonic() < self._again_at or node.address not in self.candidates():
            return
        if node.sync.is_behind or node.interpreter.trouble or not node.network.peers:
            return
        self._again_at = time.monotonic() + AGAIN_S
        self._sending = asyncio.get_running_loop().create_task(self._send())

    def candidates(self) -> tuple[bytes, ...]:
        return read_candidates(self._node.head_state())

    async def _send(self) -> None:
        node = self._node
        head, genesis = node.chain.head, node.chain.genesis
        data = abi.encode_call("ready(uint64,bytes32)", [head.number, head.hash])
        transaction = sign_transaction(
            self._key,
            chain_id=genesis.chain_id,
            nonce=node.head_state().get_nonce(node.address),
            to=NETWORK_CONTRACT,
            data=data,
            gas=min(GAS, genesis.gas_limit),
            gas_price=genesis.base_fee,
        )
        (result,) = await node.submit([transaction.raw])
        if isinstance(result, Exception):
            node.log.seldom("network", "this candidate cannot say that it is ready", why=result)
        else:
            node.log.info("network", "ready: this node becomes a validator", head=head.number)
