"""What the second wall costs: transactions executed in the node, and in the confined worker.

Both run the same blocks, one after the other and in turns, so that a busy machine slows both. Wall
time of the state transition alone (no signatures, tries or disk), the least of all blocks: the
worker's share is another process's, which CPU time of this one would not show.
"""

import time
from typing import Any

from benchmarks.stages import FIRST_PERIOD, NOW_S, _prepare
from benchmarks.workload import make_keys, record_transactions, set_debt_transactions
from ledger.block import Block, Certificate
from ledger.chain import Chain
from ledger.contract.messages import Runner
from ledger.crypto.address import address_of
from ledger.genesis import Genesis
from ledger.receipt import Receipt
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction
from ledger.transition import Called, apply_transaction, execute_block
from node.isolation.contract_process import ContractProcess

METERS = 100
BLOCK = 200
BLOCKS = 8
MEMORY_BYTES = 256 << 20


class Lane:
    """A chain whose contracts run in one of the two places."""

    def __init__(self, kind: str, keys: list[bytes], runner: Runner | None) -> None:
        owner, *meters = keys
        genesis = Genesis(
            name="bench", chain_id=1947, timestamp=NOW_S, validators=(address_of(owner),),
            gas_limit=1_000_000_000,
        )  # fmt: skip
        self.chain = Chain(MemoryStore(), genesis, runner=runner)
        contract = _prepare(self.chain, owner, meters, kind)
        count = BLOCK * BLOCKS
        if kind == "setDebt":
            self.transactions = set_debt_transactions(meters, contract, count)
        else:
            self.transactions = record_transactions(meters, contract, count, FIRST_PERIOD)
        for one in self.transactions:
            assert one.sender

    def run(self, index: int) -> float:
        """Seconds for block `index`, which is then committed."""
        part = self.transactions[index * BLOCK : (index + 1) * BLOCK]
        chain = self.chain
        state = chain.state_at()
        context = chain._context(NOW_S + index, chain.validators[0])
        began = time.perf_counter()
        receipts = apply(state, context, part)
        spent = time.perf_counter() - began
        assert all(receipt.status for receipt in receipts)
        execution = execute_block(state, context, part, receipts)
        block = Block(chain._seal(context, execution, state), tuple(part))
        chain._keep_execution(block.header, execution)
        chain.commit(block, Certificate(block.number, 0, block.hash, (bytes(65),)), b"lease")
        return spent


def apply(state: Any, context: Any, transactions: list[Transaction]) -> list[Receipt]:
    receipts: list[Receipt] = []
    gas = 0
    called: Called = {}
    for one in transactions:
        receipts.append(apply_transaction(state, context, one, gas, called))
        gas = receipts[-1].cumulative_gas_used
    return receipts


def measure(kind: str) -> dict[str, Any]:
    worker = ContractProcess(MEMORY_BYTES, on_death=lambda fault: None)
    worker.start()
    try:
        keys = make_keys(METERS + 1)
        lanes = [Lane(kind, keys, None), Lane(kind, keys, worker)]
        spent = [[lane.run(index) for lane in lanes] for index in range(BLOCKS)]
        assert lanes[0].chain.head.hash == lanes[1].chain.head.hash, "the two disagree"
    finally:
        worker.stop()
    here, there = (min(times) / BLOCK * 1e6 for times in zip(*spent, strict=True))
    return {
        "kind": kind,
        "in_node_us": round(here, 1),
        "in_worker_us": round(there, 1),
        "ratio": round(there / here, 2),
    }


def run() -> list[dict[str, Any]]:
    return [measure(kind) for kind in ("setDebt", "record")]
