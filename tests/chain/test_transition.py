"""Ethereum's rules for a transaction: who pays, what is undone, what cannot stand in a block."""

import pytest

from ledger.block import Block, Header
from ledger.errors import (
    CodeLimitExceeded,
    FeeTooLow,
    GasLimitExceeded,
    InsufficientFunds,
    IntrinsicGasTooLow,
    InvalidBlock,
    NonceTooHigh,
    NonceTooLow,
    NotPermitted,
    WrongChainId,
)
from ledger.genesis import GAS_LIMIT, GenesisContract
from ledger.transaction import sign_transaction
from ledger.transition import CODE_BYTES_MAX, execute_block
from tests.chain.chains import (
    ACCOUNTS,
    CHAIN_ID,
    COINS,
    KEYS,
    PROVIDER,
    add_block,
    build,
    call,
    commit,
    deployment,
    make_chain,
    transfer,
)

GWEI = 10**9


def test_a_transfer_moves_value_and_uses_up_a_nonce() -> None:
    chain = make_chain()
    done = add_block(chain, [transfer(1, 0, ACCOUNTS[2], 700)])
    state = chain.state_at()
    assert done.receipts[0].status == 1
    assert done.receipts[0].gas_used == 21_000
    assert state.get_balance(ACCOUNTS[1]) == COINS - 700
    assert state.get_balance(ACCOUNTS[2]) == COINS + 700
    assert state.get_nonce(ACCOUNTS[1]) == 1


def test_the_base_fee_is_burned_and_the_tip_is_the_proposers() -> None:
    chain = make_chain(base_fee=GWEI)
    tip = 3
    add_block(
        chain,
        [transfer(1, 0, ACCOUNTS[2], 0, gas=50_000, gas_price=None, max_fee=2 * GWEI,
                  max_priority_fee=tip)],
    )  # fmt: skip
    state = chain.state_at()
    assert state.get_balance(ACCOUNTS[1]) == COINS - 21_000 * (GWEI + tip)
    assert state.get_balance(ACCOUNTS[0]) == COINS + 21_000 * tip
    total = sum(state.get_balance(account) for account in ACCOUNTS)
    assert total == 4 * COINS - 21_000 * GWEI


def test_a_failed_call_keeps_the_nonce_and_the_gas_but_nothing_else() -> None:
    chain = make_chain(base_fee=1)
    price = {"gas_price": 1}
    add_block(chain, [deployment(0, 0, **price)])
    before = chain.state_at().get_balance(ACCOUNTS[1])
    refused = call(1, 0, PROVIDER, "addUser(address)", ACCOUNTS[2], **price)
    done = add_block(chain, [refused])
    receipt = done.receipts[0]
    assert (receipt.status, receipt.logs) == (0, ())
    assert receipt.output[:4].hex()  # NotProvider(address)
    state = chain.state_at()
    assert state.get_nonce(ACCOUNTS[1]) == 1
    assert state.get_balance(ACCOUNTS[1]) == before - receipt.gas_used


def test_value_sent_to_a_method_that_takes_none_comes_back() -> None:
    chain = make_chain()
    add_block(chain, [deployment(0, 0)])
    done = add_block(chain, [call(0, 1, PROVIDER, "addUser(address)", ACCOUNTS[2], value=5)])
    assert done.receipts[0].status == 0
    assert chain.state_at().get_balance(PROVIDER) == 0


def test_out_of_gas_takes_all_the_gas() -> None:
    chain = make_chain()
    add_block(chain, [deployment(0, 0)])
    short = call(0, 1, PROVIDER, "addUser(address)", ACCOUNTS[2], gas=23_000)
    receipt = add_block(chain, [short]).receipts[0]
    assert (receipt.status, receipt.gas_used) == (0, 23_000)


def test_a_deployment_has_the_address_and_the_nonce_of_ethereum() -> None:
    chain = make_chain()
    receipt = add_block(chain, [deployment(0, 0)]).receipts[0]
    assert receipt.contract_address == PROVIDER
    state = chain.state_at()
    assert state.get_nonce(PROVIDER) == 1
    assert state.get_code(PROVIDER).startswith(b'"""')


def test_a_creation_that_is_no_contract_fails_and_leaves_nothing() -> None:
    chain = make_chain()
    evm = sign_transaction(
        KEYS[0], chain_id=CHAIN_ID, nonce=0, to=None, data=b"\x60\x80", gas=100_000, gas_price=0
    )
    assert add_block(chain, [evm]).receipts[0].status == 0
    assert not chain.state_at().exists(PROVIDER)


@pytest.mark.parametrize(
    ("transaction", "error"),
    [
        (transfer(1, 1, ACCOUNTS[2]), NonceTooHigh),
        (transfer(1, 0, ACCOUNTS[2], 2 * COINS), InsufficientFunds),
        (transfer(4, 0, ACCOUNTS[2], 1), InsufficientFunds),
        (transfer(1, 0, ACCOUNTS[2], gas=20_999), IntrinsicGasTooLow),
        (transfer(1, 0, ACCOUNTS[2], gas=GAS_LIMIT + 1), GasLimitExceeded),
        (
            sign_transaction(KEYS[1], chain_id=1, nonce=0, to=ACCOUNTS[2], gas=21_000, gas_price=0),
            WrongChainId,
        ),
    ],
)
def test_what_cannot_stand_is_passed_over_and_named(transaction, error) -> None:
    chain = make_chain()
    built = build(chain, [transaction, transfer(0, 0, ACCOUNTS[2])])
    assert [type(refusal) for _, refusal in built.refused] == [error]
    assert len(built.block.transactions) == 1


def test_an_old_nonce_and_a_low_fee_are_refused() -> None:
    chain = make_chain(base_fee=GWEI)
    paying = {"gas_price": GWEI}
    add_block(chain, [transfer(1, 0, ACCOUNTS[2], **paying)])
    built = build(
        chain, [transfer(1, 0, ACCOUNTS[3], **paying), transfer(2, 0, ACCOUNTS[3], gas_price=0)]
    )
    assert [type(refusal) for _, refusal in built.refused] == [NonceTooLow, FeeTooLow]


def test_only_deployers_deploy_where_the_network_says_so(network_contract) -> None:
    chain = make_chain(contracts=(network_contract(deployers=[ACCOUNTS[1]], anyone=False),))
    built = build(chain, [deployment(0, 0), deployment(1, 0)])
    assert [type(refusal) for _, refusal in built.refused] == [NotPermitted]
    assert built.block.transactions[0].sender == ACCOUNTS[1]


def test_only_listed_accounts_and_voters_transact_where_the_network_says_so(
    network_contract,
) -> None:
    chain = make_chain(contracts=(network_contract(accounts=[ACCOUNTS[1]]),))
    built = build(chain, [transfer(key, 0, ACCOUNTS[3]) for key in (0, 1, 2)])
    assert [type(refusal) for _, refusal in built.refused] == [NotPermitted]
    assert "not permitted to send transactions" in str(built.refused[0][1])
    assert [one.sender for one in built.block.transactions] == ACCOUNTS[:2]


def test_a_block_with_a_transaction_that_cannot_stand_is_invalid() -> None:
    chain = make_chain()
    good = build(chain, [transfer(1, 0, ACCOUNTS[2])]).block
    bad = Block(good.header, (transfer(1, 1, ACCOUNTS[2]),))
    fresh = make_chain()
    with pytest.raises(InvalidBlock, match="transaction 0: nonce too high"):
        fresh.check(bad, 2_000)


@pytest.mark.parametrize("name", ["state_root", "receipts_root", "gas_used", "mix_hash", "bloom"])
def test_a_false_header_is_refused_by_the_name_of_its_field(name: str) -> None:
    good = build(make_chain(), [transfer(1, 0, ACCOUNTS[2])]).block
    fields = {field: getattr(good.header, field) for field in Header.FIELDS}
    value = fields[name]
    fields[name] = value + 1 if isinstance(value, int) else bytes(len(value) - 1) + b"\x01"
    with pytest.raises(InvalidBlock, match=f"wrong {name}"):
        make_chain().check(Block(Header(**fields), good.transactions), 2_000)


def sized_contract(number: int, size: int) -> bytes:
    head = b"from ledger.contract import Contract, uint8, view\nclass A(Contract):\n    @view\n"
    body = b"    def run(self) -> uint8:\n        return %d\n#" % number
    return (head + body).ljust(size, b"x")


def test_a_block_calls_so_many_bytes_of_sources_and_no_more() -> None:
    """Who called a thousand large contracts in turn had each made ready for 21,600 gas."""
    size = 48_000
    count = CODE_BYTES_MAX // size + 2
    contracts = tuple(
        GenesisContract(bytes([9, number]) * 10, sized_contract(number, size))
        for number in range(count)
    )
    chain = make_chain(contracts=contracts)
    nonces = dict.fromkeys((1, 2), 0)
    calls = []
    for contract in contracts:
        for key in (1, 2):  # each twice: it counts once
            calls.append(call(key, nonces[key], contract.address, "run()"))
            nonces[key] += 1
    calls.append(transfer(3, 0, ACCOUNTS[2]))  # whatever calls nothing has its place
    built = build(chain, calls)
    called = [one for one in built.block.transactions if one.to in {c.address for c in contracts}]
    assert len(called) == 2 * (CODE_BYTES_MAX // size)
    assert built.block.transactions[-1].to == ACCOUNTS[2]
    assert [type(error) for _, error in built.refused] == [CodeLimitExceeded]  # one a contract
    left = calls[len(called) : -1]
    state = chain.state_at()
    context = chain._context(2_000, ACCOUNTS[0])
    with pytest.raises(InvalidBlock, match="room for code"):
        execute_block(state, context, calls[: len(called) + 1])
    commit(chain, built)
    after = build(chain, left)  # and the next block has room again
    assert after.block.transactions == tuple(left)
