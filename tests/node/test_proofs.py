"""A proof of many slots lets votes and blocks have their turn, and stays that of one block."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.chain import Chain
from ledger.encoding.hexadecimal import decode_data
from ledger.light import verify_account, verify_storage
from node.rpc import accounts
from node.rpc.parameters import LATEST
from tests.chain.chains import ACCOUNTS, PROVIDER, add_block, call, deployment, make_chain

SLOTS = tuple(number.to_bytes(32, "big") for number in range(6))


def set_debt(chain: Chain, nonce: int) -> None:
    signature = "setDebt(uint256,uint256,address)"
    add_block(chain, [call(0, nonce, PROVIDER, signature, nonce, 2, ACCOUNTS[3])])


def test_blocks_may_come_amid_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = make_chain(flush_blocks=2)
    add_block(chain, [deployment(0, 0)])
    set_debt(chain, 1)
    header = chain.head

    async def rest(started: float) -> float:
        set_debt(chain, chain.head.number)
        return started

    monkeypatch.setattr(accounts, "rest", rest)
    context: Any = SimpleNamespace(node=SimpleNamespace(chain=chain))
    proof = asyncio.run(accounts.get_proof(context, PROVIDER, SLOTS, LATEST))
    assert chain.head.number == header.number + len(SLOTS)
    nodes = [decode_data(node) for node in proof["accountProof"]]
    account = verify_account(header.state_root, PROVIDER, nodes)
    assert account is not None
    for slot, one in zip(SLOTS, proof["storageProof"], strict=True):
        nodes = [decode_data(node) for node in one["proof"]]
        assert verify_storage(account.storage_root, slot, nodes) == int(one["value"], 16)
