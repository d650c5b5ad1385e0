"""Nobody is kept out of blocks by who takes their room for code, or asks for all their gas."""

import pytest

from ledger import candidates, transition
from ledger.chain import Chain
from ledger.errors import CodeLimitExceeded
from ledger.genesis import GAS_LIMIT, GenesisContract
from ledger.pool import Pool
from ledger.transaction import Transaction
from tests.chain.chains import ACCOUNTS, CHAIN_ID, build, call, commit, make_chain, transfer
from tests.chain.test_transition import sized_contract

SIZE = 600  # bytes of a contract; the room of a block is for one of them


@pytest.fixture
def contracts(monkeypatch: pytest.MonkeyPatch) -> tuple[GenesisContract, ...]:
    monkeypatch.setattr(transition, "CODE_BYTES_MAX", SIZE)
    return tuple(
        GenesisContract(bytes([9, number]) * 10, sized_contract(number, SIZE))
        for number in range(3)
    )


def include_next(chain: Chain, pool: Pool, now_s: int) -> list[Transaction]:
    built = build(chain, list(pool.pending(0, chain.state_at().get_nonce)), now_s)
    commit(chain, built)
    pool.remove_included(built.block.transactions)
    return list(built.block.transactions)


def test_who_fills_the_room_for_code_in_one_block_does_not_in_the_next(contracts) -> None:
    """In turn between two contracts, for 43,000 gas, it kept everybody else's out for ever."""
    chain, pool = make_chain(contracts=contracts), Pool(CHAIN_ID, GAS_LIMIT)
    greedy = [call(1, nonce, contracts[nonce % 2].address, "run()") for nonce in range(4)]
    honest = call(2, 0, contracts[2].address, "run()")
    for one in (*greedy, honest):
        pool.add(one, 0, 0)
    blocks = [include_next(chain, pool, 2_000 + second) for second in range(3)]
    assert blocks == [[greedy[0]], [honest], [greedy[1]]]


def test_who_asks_for_all_the_gas_ends_no_block(monkeypatch) -> None:
    monkeypatch.setattr(candidates, "SKIPPED_MAX", 2)
    chain = make_chain()
    greedy = [transfer(key, 0, ACCOUNTS[2], 0, gas=GAS_LIMIT) for key in range(4)]
    honest = transfer(4, 0, ACCOUNTS[2], 0)
    built = build(chain, [*greedy, honest])
    assert built.block.transactions == (greedy[0], honest)
    assert not built.refused  # nor forgotten: the next one has its block
    commit(chain, built)
    assert build(chain, greedy[1:], 2_001).block.transactions == (greedy[1],)


def test_who_calls_what_has_no_room_ends_no_block(contracts, monkeypatch) -> None:
    monkeypatch.setattr(candidates, "SKIPPED_MAX", 2)
    greedy = [call(key, 0, contracts[key > 0].address, "run()") for key in range(4)]
    honest = transfer(4, 0, ACCOUNTS[2], 0)
    built = build(make_chain(contracts=contracts), [*greedy, honest])
    assert built.block.transactions == (greedy[0], honest)
    assert [(one, type(error)) for one, error in built.refused] == [(greedy[1], CodeLimitExceeded)]
