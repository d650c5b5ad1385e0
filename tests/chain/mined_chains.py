"""A mined chain that grows alone; its blocks are given to others."""

from typing import Any

from ledger.block import Block
from ledger.branches import Added, Branches, Place
from ledger.chain import Chain
from ledger.genesis import Genesis
from ledger.store.base import Store
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction
from ledger.work import seal
from tests.chain.chains import ACCOUNTS, make_genesis

NOW = 2_000
GENESIS = make_genesis(consensus="pow", difficulty=2)


class Miner:
    def __init__(
        self, store: Store | None = None, genesis: Genesis = GENESIS, **options: Any
    ) -> None:
        self.chain = Chain(store or MemoryStore(), genesis, **options)
        self.branches = Branches(self.chain)

    def mine(self, *transactions: Transaction, coinbase: int = 0, now_s: int = NOW) -> Block:
        built = self.chain.build(transactions, now_s, ACCOUNTS[coinbase])
        assert not built.refused
        block = find_seal(built.block)
        assert self.add(block, now_s).place is Place.HEAD
        return block

    def add(self, block: Block, now_s: int = NOW) -> Added:
        return self.branches.add(block, now_s)

    def follow(self, *blocks: Block) -> list[Place]:
        return [self.add(block).place for block in blocks]


def find_seal(block: Block, difficulty: int = 2) -> Block:
    for number in range(1_000):
        header = seal(block.header, number.to_bytes(8, "big"))
        if int.from_bytes(header.mix_hash) <= 2**256 // difficulty:
            return Block(header, block.transactions)
    raise AssertionError("no nonce in a thousand at difficulty 2")
