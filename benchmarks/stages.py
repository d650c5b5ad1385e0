"""CPU microseconds per metering transaction, stage by stage, on one node without a network.

Stages are those of a real import: decode the raw bytes, recover the sender, execute, bring the
changes into the tries (with roots of transactions and receipts), append the block, flush the state.
`slots` are filled first, so that the tries are as deep as on a chain that has run for long.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.workload import (
    CHAIN_ID,
    creation_data,
    encode_call,
    make_keys,
    record_transactions,
    set_debt_transactions,
    sign_call,
)
from ledger.block import Block, Certificate
from ledger.chain import Chain
from ledger.contract.execution import BlockContext
from ledger.crypto.address import address_of, contract_address
from ledger.genesis import Genesis
from ledger.receipt import Receipt
from ledger.state.state import State
from ledger.store.sqlite import SqliteStore
from ledger.transaction import Transaction, decode_transaction
from ledger.transition import Called, apply_transaction, execute_block

ACCOUNTS = 200
BLOCK = 200
BLOCKS = 20
NOW_S = 1_700_000_000
FIRST_PERIOD = NOW_S // 3_600
SLOTS_PER_BLOCK = 20_000


def measure(kind: str, slots: int) -> dict[str, Any]:
    """`kind` is setDebt or record."""
    with tempfile.TemporaryDirectory() as folder:
        owner, *keys = make_keys(ACCOUNTS + 1)
        genesis = Genesis(
            name="bench", chain_id=1947, timestamp=NOW_S, validators=(address_of(owner),),
            gas_limit=1_000_000_000,
        )  # fmt: skip
        chain = Chain(SqliteStore(Path(folder) / "chain.sqlite"), genesis, flush_blocks=16)
        contract = _prepare(chain, owner, keys, kind)
        _fill(chain, contract, slots)
        make = set_debt_transactions if kind == "setDebt" else _records
        transactions = make(keys, contract, BLOCK * (BLOCKS + 2))
        times: dict[str, float] = {}
        for index in range(BLOCKS + 2):
            part = [one.raw for one in transactions[index * BLOCK : (index + 1) * BLOCK]]
            spent = _import(chain, part, NOW_S + index)
            if index >= 2:  # the first blocks fill caches
                for stage, seconds in spent.items():
                    times[stage] = times.get(stage, 0.0) + seconds
        began = time.process_time()
        chain.flush()
        times["flush"] = times.get("flush", 0.0) + time.process_time() - began
        chain.close()
    count = BLOCK * BLOCKS
    stages = {stage: round(seconds / count * 1e6, 1) for stage, seconds in times.items()}
    return {"slots": slots, "kind": kind, "us": stages, "total_us": round(sum(stages.values()), 1)}


def _records(keys: list[bytes], contract: bytes, count: int) -> list[Transaction]:
    return record_transactions(keys, contract, count, FIRST_PERIOD)


def _prepare(chain: Chain, owner: bytes, keys: list[bytes], kind: str) -> bytes:
    """Deploy, and let every account send."""
    contract = contract_address(address_of(owner), 0)
    if kind == "setDebt":
        data = creation_data("el_dapp", ["string", "string"], "Grid", "Street")
        calls = [encode_call("addUser(address)", address_of(key)) for key in keys]
    else:
        data = creation_data("metering", ["uint32", "int32"], 3_600, 0)
        tariff = (0, False, [100, 300, 500], [296, 556, 916, 1_061])
        calls = [encode_call("setTariff(uint24,bool,uint32[],uint32[])", *tariff)]
        calls += [
            encode_call("enrol(address,address)", address_of(key), address_of(key)) for key in keys
        ]
    setup = [sign_call(owner, 0, None, data, 20_000_000)]
    setup += [sign_call(owner, 1 + i, contract, call, 500_000) for i, call in enumerate(calls)]
    _import(chain, [one.raw for one in setup], NOW_S)
    return contract


def _fill(chain: Chain, contract: bytes, slots: int) -> None:
    """Storage slots of the contract that nobody uses, as an old chain has."""
    for start in range(0, slots, SLOTS_PER_BLOCK):
        state = chain.state_at()
        for index in range(start, min(slots, start + SLOTS_PER_BLOCK)):
            state.set_storage(contract, ((1 << 200) + index).to_bytes(32, "big"), index + 1)
        _commit(chain, state, _context(chain, chain.head.timestamp), [], [])
    chain.flush()  # or the first blocks that are measured would pay for it


def _import(chain: Chain, raws: list[bytes], now_s: int) -> dict[str, float]:
    clock = time.process_time
    spent = {}
    began = clock()
    transactions = [decode_transaction(raw) for raw in raws]
    spent["decode"] = clock() - began
    began = clock()
    for one in transactions:
        assert one.sender
    spent["recover"] = clock() - began
    state = chain.state_at()
    context = _context(chain, max(now_s, chain.head.timestamp))
    began = clock()
    receipts: list[Receipt] = []
    gas = 0
    called: Called = {}
    for one in transactions:
        receipts.append(apply_transaction(state, context, one, gas, called))
        gas = receipts[-1].cumulative_gas_used
        assert receipts[-1].status == 1, receipts[-1].output
    spent["execute"] = clock() - began
    spent["trie"], spent["store"] = _commit(chain, state, context, transactions, receipts)
    return spent


def _context(chain: Chain, timestamp: int) -> BlockContext:
    return BlockContext(
        height=chain.head.number + 1,
        timestamp=timestamp,
        coinbase=chain.validators[0],
        gas_limit=chain.genesis.gas_limit,
        base_fee=0,
        chain_id=CHAIN_ID,
    )


def _commit(
    chain: Chain,
    state: State,
    context: BlockContext,
    transactions: list[Transaction],
    receipts: list[Receipt],
) -> tuple[float, float]:
    """What `Chain.build` and `Chain.commit` do with what ran, timed apart: tries, store."""
    clock = time.process_time
    began = clock()
    execution = execute_block(state, context, transactions, receipts)
    block = Block(chain._seal(context, execution, state), tuple(transactions))
    chain._keep_execution(block.header, execution)
    executed = clock()
    certificate = Certificate(block.number, 0, block.hash, (bytes(65),) * 3)
    chain.commit(block, certificate, b"lease")
    return executed - began, clock() - executed


def run() -> list[dict[str, Any]]:
    return [measure(kind, slots) for kind in ("setDebt", "record") for slots in (0, 1_000_000)]
