"""A node: chain, pool, engine, peers and JSON-RPC put together in one asyncio process.

Belongs here: what happens to each thing that comes in, and what happens each second. Not here: how
effects are carried out (`interpreter`), flooding (`gossip`), catching up (`sync`), the process
around it (`daemon`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ledger.block import Block, Certificate, validators_hash
from ledger.chain import FLUSH_BLOCKS_MAX, Chain, Committed
from ledger.consensus import events as ev
from ledger.contract.messages import Runner
from ledger.crypto.address import address_of
from ledger.crypto.secp256k1 import sign_compact
from ledger.errors import CodeLimitExceeded, EncodingError, NonceTooHigh, StoreError
from ledger.genesis import NETWORK_CONTRACT
from ledger.pool import Pool
from ledger.state.state import State
from ledger.store.base import Store
from ledger.transaction import Transaction
from ledger.types import Address, Height
from node.changes import ValidatorChanges
from node.compact import Compact
from node.config import Config
from node.engines import make_engine
from node.errors import NodeError
from node.exchange import Exchange
from node.feed import Feed
from node.gossip import Gossip
from node.intake import Intake
from node.interpreter import now_ms
from node.keys import claim_signer_record
from node.log import Log
from node.mined import MinedInterpreter, MinedSync
from node.network_files import NetworkFile
from node.peers.connection import Identity, Peer
from node.peers.identity import load_or_make_certificate, make_peer_tls
from node.peers.network import PeerNetwork
from node.recent import RecentBlocks, Withdrawn, make_full
from node.rpc.filters import Filters
from node.senders import SenderProcess
from node.status import describe_node, describe_peers, describe_sync, explain
from node.sync import Sync, SyncSettings
from node.sync.adopt import adopt_snapshot
from node.sync.history import History
from node.sync.serve import Server
from node.watch import Watch

TICK_S = 1.0
FILTERS_SAVE_TICKS = 30
REST_STATUS_TICKS = 30
"""At rest a node compares so seldom: who missed the last block need not wait for the next one."""
HEAD_STATE_READS_MAX = 50_000
"""Accounts read before the shared state of the head is made anew: some 400 bytes each."""
SUMMARY_TICKS = 60
FLUSH_BYTES_MAX = 20_000_000
"""Of memory for what is not written yet, whatever number of blocks and transactions it came in: a
transaction changes more nodes the larger the state is."""
FILTERS_KEY = "node/filters"


class Node:
    """One node over an open store. `config.data` holds its TLS certificate."""

    def __init__(
        self,
        config: Config,
        network_file: NetworkFile,
        private_key: bytes,
        store: Store,
        log: Log,
        unlocked: dict[Address, bytes] | None = None,
        runner: Runner | None = None,
    ) -> None:
        genesis = network_file.genesis
        self.config = config
        self.log = log
        self.unlocked = unlocked or {}
        self.address = address_of(private_key)
        self.started_at_s = time.time()
        self.endpoints = network_file.peers
        self._executor = ThreadPoolExecutor(config.threads, "recover")
        # The node flushes itself: a full disk then is told apart from a block that failed.
        self.chain = Chain(
            store,
            genesis,
            executor=self._executor,
            flush_blocks=FLUSH_BLOCKS_MAX,
            states_kept=config.store_states_kept,
            runner=runner,
        )
        self.pool = Pool(genesis.chain_id, genesis.gas_limit, genesis.base_fee)
        self.recent = RecentBlocks(self.chain)
        self.changes = ValidatorChanges(self.chain)
        self.feed = Feed(log)
        self.filters = Filters(config.rpc_filter_minutes * 60)
        self._head_state: State | None = None
        self._head_state_reads = 0
        self.intake = Intake(
            self.head_state, self.pool, self._executor, self._transactions_taken, SenderProcess(log)
        )
        self.exchange = Exchange(self)
        self.network = self._make_network(private_key)
        self.compact = Compact(self.pool.get, lambda: self.chain.head.number, self.exchange.deliver)
        self.gossip = Gossip(self.network, self.pool, self.compact)
        self.sync = self._make_sync(private_key)
        self.sync_server = Server(self.chain)
        self.history = History(self.chain, self.sync, config.store_bodies_days, log)
        self.engine, self.interpreter = make_engine(self, private_key)
        self.watch = Watch(self, private_key)
        self._flushed_height = self._head_at_tick = self._head_said = self.chain.head.number
        self._flushed_at = time.monotonic()
        self._work_told = False
        self._catching_up = False
        self._ticks = 0
        self._transactions_since_said = 0
        self._tasks: list[asyncio.Task[None]] = []

    def _make_network(self, private_key: bytes) -> PeerNetwork:
        config, chain = self.config, self.chain
        certificate, fingerprint = load_or_make_certificate(config.data)
        return PeerNetwork(
            self.exchange,
            Identity(private_key, chain.genesis.chain_id, chain.genesis_hash, config.name),
            self.address,
            self.endpoints,
            make_peer_tls(certificate),
            fingerprint,
            self.log,
            config.peers_connections_max,
            discover=config.peers_discover,
            store=chain.store,
        )

    def _make_sync(self, private_key: bytes) -> Sync:
        sign = partial(sign_compact, private_key)
        return (MinedSync if self.chain.is_mined else Sync)(
            self.chain,
            self.network,
            self._import_block,
            self.pool.get,
            self.log,
            executor=self._executor,
            adopt=self._adopt_snapshot,
            settings=SyncSettings(self.config.sync_snapshot_blocks, self.address, sign),
        )

    # Life.

    async def start(self) -> None:
        """Open the peers' port and start to take part. Raises NodeError."""
        claim_signer_record(self.chain.store, self.address)
        saved = self.chain.store.get_meta(FILTERS_KEY)
        if saved:
            self.filters.load(saved)
        self.feed.on_pending(self.filters.hear_pending)
        try:
            self.interpreter.start()
        except EncodingError as error:
            raise NodeError(
                f"{error}. Restore no backup over it: remove this node's data folder, it then "
                "follows the chain and signs again once that is safe."
            ) from error
        await self.network.start(self.config.peers_host, self.config.peers_port)
        self._tasks = [
            asyncio.create_task(self._keep_running("sync", self.sync.run)),
            asyncio.create_task(self._keep_running("tick", self._keep_ticking)),
        ]
        if not self.chain.is_mined:  # a reorganisation may need any body
            self._tasks.append(asyncio.create_task(self._keep_running("history", self.history.run)))

    async def stop(self) -> None:
        """Stop cleanly: the note of it, filters and state are on disk when this returns."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.interpreter.stop()
        await self.intake.stop()
        await self.network.stop()
        if isinstance(self.interpreter, MinedInterpreter):
            await self.interpreter.mining.close()
        try:
            self._save_filters()
            self.changes.save()
            self.chain.close()
        except StoreError as error:
            self.log.error("store", "could not write at the end", why=error)
        self._executor.shutdown()

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run it for ever. What goes wrong is said and it goes on: a node without a tick answers
        as ever, but sends no status, and what is lost on the way is lost for good."""
        while True:
            try:
                await work()
            except StoreError as error:
                self.log.seldom("store", "the disk failed", task=name, why=error)
            except Exception as error:
                self.log.bug(name, error)
            await asyncio.sleep(TICK_S)

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick()

    def _tick(self) -> None:
        """What happens each second; nothing of it costs anything while nothing happens."""
        self._ticks += 1
        head = self.chain.head.number
        if self.engine.status().open:
            self.exchange.send_statuses()
            if head == self._head_at_tick:
                lasting = self.gossip.list_lasting()
                for peer in self.network.peers.values():
                    self.gossip.compare_pools(peer, lasting)
        elif self._ticks % REST_STATUS_TICKS == 0 or self._has_untold(head):
            self.exchange.send_statuses()
        self._head_at_tick = head
        self._tell_work()
        self.tell_sync()
        flush_due = time.monotonic() - self._flushed_at >= self.config.store_flush_seconds
        if flush_due and head > self._flushed_height:
            self._flush()
        if self._ticks % FILTERS_SAVE_TICKS == 0 and self.filters.changed:
            self._save_filters()
        self.watch.tick()
        if self._ticks % SUMMARY_TICKS == 0:
            self._say_summary()

    def _has_untold(self, head: Height) -> bool:
        """Whether the head moved without votes to tell of it: a lone validator sends none."""
        header = self.chain.head
        lone = validators_hash((header.coinbase,)) == header.extra_data
        return head != self._head_at_tick and lone

    def _say_summary(self) -> None:
        """One line for all blocks of a while: a line for each would wear a Pi's card."""
        head = self.chain.head.number
        if head > self._head_said:
            self.log.info(
                "chain",
                "blocks",
                head=head,
                new=head - self._head_said,
                transactions=self._transactions_since_said,
                waiting=self.pool.size,
                peers=len(self.network.peers),
            )
        self._head_said, self._transactions_since_said = head, 0

    # Transactions.

    async def submit(self, raws: Sequence[bytes]) -> Sequence[Transaction | Exception]:
        return await self.intake.submit(raws)

    def _transactions_taken(self, transactions: list[Transaction], origin: Peer | None) -> None:
        self.gossip.announce(transactions, origin)
        self.feed.publish_pending(transactions)
        if not self._work_told:
            # After the client has its answer: a lone validator makes the block at once.
            asyncio.get_running_loop().call_soon(self._tell_work)
        elif self.chain.is_mined:  # so that what is being mined takes them in, in a while
            asyncio.get_running_loop().call_soon(self.interpreter.feed, ev.WorkWaiting(True))

    def head_state(self, accounts: int = 1) -> State:
        """The head's state, to read so many accounts of: each is read from the trie once."""
        state = self._head_state
        self._head_state_reads += accounts
        if (
            state is None
            or state.root != self.chain.head.state_root
            or self._head_state_reads > HEAD_STATE_READS_MAX
        ):
            state = self._head_state = self.chain.state_at()
            self._head_state_reads = accounts
        return state

    def has_work(self) -> bool:
        """Whether the pool holds a transaction that would be included on the head."""
        if not self.pool.size:
            return False
        return self.pool.has_pending(self.chain.genesis.base_fee, self.head_state().get_nonce)

    def note_work(self) -> bool:
        """Whether work waits, noted as what the engine is about to be told."""
        self._work_told = self.has_work()
        return self._work_told

    def _tell_work(self) -> None:
        waiting = self.has_work()
        if waiting is not self._work_told:
            self._work_told = waiting
            self.interpreter.feed(ev.WorkWaiting(waiting))

    # Blocks.

    def build(self) -> Block:
        """A block on the head of what waits; what can never run is forgotten."""
        get_nonce = self.head_state(self.pool.size).get_nonce
        candidates = self.pool.pending(self.chain.genesis.base_fee, get_nonce)
        built = self.chain.build(candidates, int(time.time()), self.address)
        for transaction, error in built.refused:
            if not isinstance(error, (CodeLimitExceeded, NonceTooHigh)):
                self.pool.drop_invalid(transaction)
                self.log.seldom("pool", "a waiting transaction cannot run", why=error)
        return built.block

    def commit(self, committed: Committed) -> bool:
        """A block is on the chain, durably: tell everybody; whether work is left."""
        block = committed.block
        self.pool.remove_included(block.transactions)
        self.gossip.note_included(block.transactions)
        self._transactions_since_said += len(block.transactions)
        self.log.debug("chain", "block", height=block.number, hash=block.hash)
        self.changes.note(block.header)
        full = self.recent.add(block, committed.receipts)
        self.feed.publish_block(full)
        if (
            block.number - self._flushed_height >= self.config.store_flush_blocks
            or self.chain.unflushed_bytes >= FLUSH_BYTES_MAX
        ):
            self._flush()
        if any(log.address == NETWORK_CONTRACT for one in committed.receipts for log in one.logs):
            check = self.exchange.check_peer
            self.network.recheck(lambda address: check(address, dialed=False) is None)
        return self.note_work()

    def withdraw(self, first: Height, blocks: Sequence[Withdrawn]) -> None:
        """From block `first` on the chain is another, and these were on it: tell everybody."""
        self._head_state = None
        self.recent.forget(first)
        gone = [make_full(block, receipts) for block, receipts in blocks]
        self.filters.withdraw(first, gone)
        self.feed.publish_withdrawn(gone)

    def _import_block(self, peer: Peer, block: Block, certificate: Certificate) -> bool:
        """Hand a verified block of `peer` to the engine; whether it is the head now."""
        if self.interpreter.trouble is not None:
            return False
        self.interpreter.feed(ev.CertifiedBlock(peer.address, block, certificate, verified=True))
        return self.chain.head.hash == block.hash

    def _adopt_snapshot(self, height: int, own_seal: int) -> None:
        """Live on from the state that was staged: the engine starts again from there."""
        adopt_snapshot(self.chain, height, own_seal)
        self.changes = ValidatorChanges(self.chain)
        self._head_state = None
        self._flushed_height = self._head_said = self.chain.head.number
        self.interpreter.start()

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        try:
            self.chain.flush()
            self.changes.save()
            self._flushed_height = self.chain.head.number
        except StoreError as error:
            self.interpreter.note_flush_failed(error)

    def _save_filters(self) -> None:
        if self.filters.changed:
            self.chain.store.set_meta(FILTERS_KEY, self.filters.dump())

    # What JSON-RPC asks.

    def tell_sync(self) -> None:
        behind = self.sync.is_behind
        if behind is not self._catching_up:
            self._catching_up = behind
            self.log.info("sync", "catching up" if behind else "caught up")
            self.feed.publish_sync(behind)

    def describe_sync(self) -> dict[str, Any] | None:
        return describe_sync(self)

    def describe_peers(self) -> list[dict[str, Any]]:
        return describe_peers(self)

    def describe_node(self) -> dict[str, Any]:
        return describe_node(self)

    def explain(self) -> dict[str, Any]:
        return explain(self, now_ms())
