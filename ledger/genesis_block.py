"""The first block, made from the network file alone: it has no parent and no certificate.

Its state holds the balances and contracts of the file, extraData is the hash of the settings and
mixHash that of the validators who decide block 1.
"""

from ledger.block import Header, validators_hash
from ledger.contract.execution import BlockContext, Message
from ledger.errors import GenesisError
from ledger.genesis import Genesis
from ledger.permissions import read_validators
from ledger.receipt import EMPTY_BLOOM
from ledger.state.state import State
from ledger.store.memory import MemoryStore
from ledger.transition import Execution, execute_block, run_message
from ledger.trie.trie import EMPTY_ROOT

GENESIS_GAS = 1_000_000_000  # for the constructors of the contracts that genesis holds


def make_genesis_block(genesis: Genesis) -> tuple[Execution, Header]:
    """The first block and what it did. Raises GenesisError for a contract that cannot be made."""
    state = State(MemoryStore(), EMPTY_ROOT)
    context = BlockContext(
        height=0,
        timestamp=genesis.timestamp,
        coinbase=bytes(20),
        gas_limit=genesis.gas_limit,
        base_fee=genesis.base_fee,
        chain_id=genesis.chain_id,
    )
    for address, balance in sorted(genesis.alloc.items()):
        state.set_balance(address, balance)
    for contract in genesis.contracts:
        message = Message(
            sender=bytes(20),
            to=contract.address,
            value=0,
            data=contract.payload(),
            gas=GENESIS_GAS,
            static=False,
            origin=bytes(20),
            gas_price=0,
        )
        outcome = run_message(state, context, message, creation=True)
        if outcome.status != "success":
            raise GenesisError(
                f"network file: contracts: 0x{contract.address.hex()} cannot be made: "
                f"{outcome.status}"
            )
    validators = read_validators(state) or genesis.validators
    execution = execute_block(state, context, ())
    return execution, Header(
        parent_hash=bytes(32),
        coinbase=bytes(20),
        state_root=execution.state_root,
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        bloom=EMPTY_BLOOM,
        difficulty=genesis.difficulty,
        number=0,
        gas_limit=genesis.gas_limit,
        gas_used=0,
        timestamp=genesis.timestamp,
        extra_data=genesis.settings_hash(),
        mix_hash=validators_hash(validators),
        nonce=bytes(8),
        base_fee=genesis.base_fee,
    )
