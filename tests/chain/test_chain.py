"""Blocks follow one another, survive a restart, and every kept state stays readable."""

import gc

import pytest

from ledger import candidates, history
from ledger import chain as chain_module
from ledger.block import Block, Header, validators_hash
from ledger.contract.execution import Message
from ledger.encoding import abi
from ledger.errors import BlockNotYet, InvalidBlock, StoreError, WrongNetwork
from ledger.genesis import NETWORK_CONTRACT, GenesisContract
from ledger.permissions import may_connect, may_deploy, read_validators
from ledger.store.members import load_changes
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from tests.chain.chains import (
    ACCOUNTS,
    COINS,
    PROVIDER,
    add_block,
    build,
    call,
    commit,
    deployment,
    make_chain,
    transfer,
)


def test_two_nodes_that_execute_the_same_blocks_have_the_same_head() -> None:
    proposer, follower = make_chain(), make_chain()
    for nonce in range(3):
        built = build(proposer, [transfer(1, nonce, ACCOUNTS[2], nonce)])
        follower.check(built.block, 2_000)
        commit(proposer, built)
        commit(follower, built)
    assert proposer.head == follower.head
    assert proposer.head.number == 3


def test_a_dropped_proposal_leaves_nothing_behind() -> None:
    chain = make_chain()
    before = chain.state_at().root
    build(chain, [transfer(1, 0, ACCOUNTS[2], 99)])
    assert chain.state_at().root == before
    assert chain.state_at().get_balance(ACCOUNTS[2]) == COINS
    add_block(chain, [transfer(1, 0, ACCOUNTS[2], 1)])
    assert chain.state_at().get_balance(ACCOUNTS[2]) == COINS + 1


def test_the_clock_holds_back_a_block_but_never_condemns_it() -> None:
    early = build(make_chain(), [], now_s=5_000).block
    chain = make_chain(drift_s=10)
    with pytest.raises(BlockNotYet):
        chain.check(early, 4_989)
    chain.check(early, 4_990)
    make_chain().check(early, None)


def test_time_never_goes_back() -> None:
    chain = make_chain()
    add_block(chain, now_s=5_000)
    built = build(chain, [], now_s=1)
    assert built.block.header.timestamp == 5_000
    fields = {name: getattr(built.block.header, name) for name in Header.FIELDS}
    older = Block(Header(**{**fields, "timestamp": 4_999}), ())
    with pytest.raises(InvalidBlock, match="before its parent"):
        chain.check(older, 5_000)


def test_a_stranger_proposes_nothing() -> None:
    chain = make_chain()
    block = chain.build([], 2_000, ACCOUNTS[3]).block
    with pytest.raises(InvalidBlock, match="no validator"):
        make_chain().check(block, 2_000)


@pytest.mark.parametrize("flush_blocks", [1, 3, 64])
def test_a_restart_executes_what_was_not_flushed(tmp_path, flush_blocks: int) -> None:
    path = tmp_path / "chain.sqlite"
    chain = make_chain(SqliteStore(path), flush_blocks=flush_blocks)
    add_block(chain, [deployment(0, 0)])
    for nonce in range(1, 6):
        add_block(
            chain,
            [call(0, nonce, PROVIDER, "setDebt(uint256,uint256,address)", nonce, 2, ACCOUNTS[3])],
            now_s=2_000 + nonce,
        )
    head, root = chain.head, chain.state_at().root
    last = chain.block(6).transactions[0].hash
    chain.store.close()  # without a flush: the process is gone

    again = make_chain(SqliteStore(path), flush_blocks=flush_blocks)
    assert again.head == head
    assert again.state_at().root == root
    assert again.find_transaction(last) == (6, 0)
    assert again.receipts(6)[0].status == 1
    again.close()


@pytest.mark.parametrize("flush_blocks", [1, 4, 64])
def test_every_kept_state_reads_as_it_was(tmp_path, flush_blocks: int) -> None:
    chain = make_chain(SqliteStore(tmp_path / "chain.sqlite"), flush_blocks=flush_blocks)
    for height in range(1, 11):
        add_block(chain, [transfer(1, height - 1, ACCOUNTS[2], 1)])
    for height in range(11):
        state = chain.state_at(height)
        assert state.root == chain.header(height).state_root
        assert state.get_balance(ACCOUNTS[2]) == COINS + height
        assert state.get_nonce(ACCOUNTS[1]) == height
    chain.close()


def test_a_folder_of_another_network_is_refused_by_name() -> None:
    store = MemoryStore()
    mine = make_chain(store, name="my street").genesis_hash
    with pytest.raises(WrongNetwork, match=f'{mine.hex()} "my street.*other'):
        make_chain(store, name="other")


def test_power_that_goes_amid_the_very_first_start_is_no_harm() -> None:
    """The folder is named before its genesis block is written."""
    store = MemoryStore()
    store.set_meta("genesis", make_chain().genesis_hash)
    assert make_chain(store).head.number == 0


def test_settings_are_part_of_the_genesis_hash() -> None:
    assert make_chain().genesis_hash != make_chain(drift_s=11).genesis_hash


def test_validators_change_by_transaction_and_the_header_says_so(network_contract) -> None:
    chain = make_chain(contracts=(network_contract(),))
    assert chain.validators == (ACCOUNTS[0],)
    members = sorted([ACCOUNTS[0], ACCOUNTS[1]])
    voted = add_block(chain, [call(0, 0, NETWORK_CONTRACT, "addValidator(address)", ACCOUNTS[1])])
    assert voted.receipts[0].status == 1
    assert voted.validators == (ACCOUNTS[0],)  # an empty disk never stops a quorum
    seen = voted.block.hash
    done = add_block(chain, [call(1, 0, NETWORK_CONTRACT, "ready(uint64,bytes32)", 1, seen)])
    assert done.receipts[0].status == 1
    header = done.block.header
    assert header.extra_data == validators_hash([ACCOUNTS[0]])
    assert header.mix_hash == validators_hash(members)
    assert done.validators == tuple(members)
    assert chain.validators_of(header.mix_hash) == tuple(members)
    assert chain.validators_of(header.extra_data) == (ACCOUNTS[0],)
    assert load_changes(chain.store) == (2,)
    state = chain.state_at()
    assert read_validators(state) == tuple(members)
    assert may_connect(state, ACCOUNTS[1])
    assert not may_connect(state, ACCOUNTS[2])
    assert may_deploy(state, ACCOUNTS[2])


def test_a_call_changes_nothing() -> None:
    chain = make_chain()
    add_block(chain, [deployment(0, 0)])
    root = chain.state_at().root
    data = abi.selector("providerName()")
    message = Message(ACCOUNTS[4], PROVIDER, 0, data, 100_000, False, ACCOUNTS[4], 0)
    outcome = chain.call(message)
    assert abi.decode(["string"], outcome.output) == ("Grid",)
    assert chain.state_at().root == root


def test_old_states_are_pruned_and_the_kept_ones_stay(tmp_path) -> None:
    chain = make_chain(SqliteStore(tmp_path / "chain.sqlite"), flush_blocks=32)
    for height in range(1, 400):
        add_block(chain, [transfer(1, height - 1, ACCOUNTS[2], 1)], now_s=2_000 + 10 * height)
    chain.flush()
    kept = chain.state_at(399 - 256)
    assert kept.get_balance(ACCOUNTS[2]) == COINS + 399 - 256
    chain.close()


def test_an_ill_formed_list_leaves_the_set_in_force_over_a_restart() -> None:
    """Not the first set: who restarts would find every block of the others wrong."""
    source = b"""from ledger.contract import Array, Contract, address, write
class Network(Contract):
    _validators: Array[address]

    def __init__(self, first: address) -> None:
        self._validators.append(first)

    @write
    def add(self, one: address) -> None:
        self._validators.append(one)
"""
    contract = GenesisContract(NETWORK_CONTRACT, source, abi.encode(["address"], [ACCOUNTS[0]]))
    store = MemoryStore()
    chain = make_chain(store, contracts=(contract,), flush_blocks=1)
    for nonce in range(2):  # the second makes the list ill-formed
        add_block(chain, [call(0, nonce, NETWORK_CONTRACT, "add(address)", ACCOUNTS[1])])
    assert read_validators(chain.state_at()) is None
    assert chain.validators == tuple(sorted(ACCOUNTS[:2]))
    again = make_chain(store, contracts=(contract,), flush_blocks=1)
    assert again.validators == chain.validators
    again.check(build(chain, []).block, 2_000)


def test_a_body_that_could_not_be_proposed_again_is_refused() -> None:
    """A prepared block travels with its PREPAREs; one as large as a message holds would not."""
    large = [
        transfer(1, nonce, ACCOUNTS[2], 0, gas=14_000_000, data=bytes(120_000))
        for nonce in range(20)
    ]
    chain = make_chain(gas_limit=15_000_000_000)
    block = chain.build(large, 2_000, ACCOUNTS[0]).block
    assert len(block.transactions) == 16
    body = tuple(large)
    with pytest.raises(InvalidBlock, match="a body of more than 2000000 bytes"):
        chain.check(Block(block.header, body), 2_000)


def test_one_account_cannot_use_up_what_a_proposer_passes_over(monkeypatch) -> None:
    """Its second transfer cannot run, nor what follows; all the same the others are included."""
    monkeypatch.setattr(candidates, "SKIPPED_MAX", 3)
    chain = make_chain()
    greedy = [transfer(1, nonce, ACCOUNTS[2], COINS) for nonce in range(10)]
    honest = [transfer(2, nonce, ACCOUNTS[3]) for nonce in range(3)]
    built = build(chain, [*greedy, *honest])
    assert list(built.block.transactions) == [greedy[0], *honest]
    assert [one for one, _ in built.refused] == [greedy[1]]


def test_what_a_full_block_passes_over_is_no_garbage() -> None:
    """With its frames each refusal is a cycle that holds the block's state: 30 MB under load."""
    chain = make_chain()
    waiting = [transfer(key, 1, ACCOUNTS[2]) for key in range(3)]  # each waits for its first
    build(chain, waiting)
    gc.collect()
    gc.disable()
    try:
        assert len(build(chain, waiting, 2_001).refused) == 3
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_call_reads_so_much_of_an_old_state_and_no_more(tmp_path, monkeypatch) -> None:
    chain = make_chain(SqliteStore(tmp_path / "chain.sqlite"), flush_blocks=1)
    add_block(chain, [deployment(0, 0)])
    for nonce in range(3):
        add_block(chain, [transfer(1, nonce, ACCOUNTS[2])])
    data = abi.selector("providerName()")
    message = Message(ACCOUNTS[4], PROVIDER, 0, data, 100_000, False, ACCOUNTS[4], 0)
    assert chain.call(message, 2) == chain.call(message)
    monkeypatch.setattr(history, "CALL_READS_MAX", 1)
    with pytest.raises(StoreError, match="too much of an old state"):
        chain.call(message, 2)
    assert chain.call(message).status == "success"
    chain.close()


def test_headers_in_memory_are_as_many_as_are_kept_and_no_more(monkeypatch) -> None:
    for module in (chain_module, history):
        monkeypatch.setattr(module, "HEADERS_CACHED", 4)
    chain = make_chain()
    for height in range(1, 11):
        add_block(chain, now_s=2_000 + height)
        assert len(chain._headers) <= 4
    headers = [chain.header(height) for height in range(11)]
    assert [one.number for one in headers] == list(range(11))
    assert len(chain._headers) <= 4
