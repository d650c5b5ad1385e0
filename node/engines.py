"""Which engine a network file chooses, and the interpreter that goes with it."""

from typing import TYPE_CHECKING

from ledger.consensus.qbft import Qbft
from ledger.consensus.settings import Settings
from node.compact import decode_proposal
from node.interpreter import Interpreter
from node.mined import MinedEngine, MinedInterpreter

if TYPE_CHECKING:
    from node.node import Node


def make_engine(node: "Node", private_key: bytes) -> tuple[Qbft | MinedEngine, Interpreter]:
    """For a node that has chain, pool and exchange already."""
    genesis = node.chain.genesis
    if node.chain.is_mined:
        mined = MinedEngine(node)
        return mined, MinedInterpreter(node, mined)
    engine = Qbft(
        Settings(
            chain_id=genesis.chain_id,
            genesis_hash=node.chain.genesis_hash,
            round_timeout_ms=genesis.round_timeout_ms,
            round_timeout_ms_max=genesis.round_timeout_ms_max,
            block_period_ms=genesis.block_period_ms,
            empty_block_period_s=genesis.empty_block_period_s,
            sign_without_record=node.config.key_sign_without_record,
        ),
        private_key,
        decode=decode_proposal(node.pool.get),
    )
    interpreter = Interpreter(
        engine, node.chain, node.exchange, node.build, node.commit, node.note_work, node.log
    )
    return engine, interpreter
