"""What must hold in a realm of whole nodes, judged from outside of them: S1 to S5 and R.

S1, S2, D  as in `checkers`, fed with every block written and every vote sent
S3  a transaction whose receipt a server has shown never vanishes, from no server that is as far
S4  executed again from genesis, the blocks of each disk give the same roots and receipts
S5  what one server answers never goes back: its head, over restarts too
R   what is held in memory for others stays below its bounds
L is `heal` in `trouble`, which knows when the world has healed.
"""

from typing import TYPE_CHECKING, Any

from ledger.block import Block, decode_body, decode_certificate, decode_header
from ledger.chain import EXECUTIONS_MAX, Chain
from ledger.consensus.height import BLOCKS_KEPT
from ledger.consensus.messages import Authors, Network
from ledger.consensus.qbft import BUFFER_BYTES_MAX
from ledger.consensus.votes import EVIDENCE_MAX
from ledger.genesis_block import make_genesis_block
from ledger.pool import PoolLimits
from ledger.receipt import encode_receipts
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction
from node.peers.connection import SEND_QUEUE_BYTES_MAX, SEND_QUEUE_FRAMES_MAX
from tests.simulator.checkers import Checker, Violation
from tests.simulator.stand_ins import CHAIN_ID

if TYPE_CHECKING:
    from tests.simulator.realm import Machine, Realm


class Watch:
    def __init__(self, realm: "Realm") -> None:
        self._realm = realm
        self.genesis_hash = make_genesis_block(realm.genesis)[1].hash
        self.authors = Authors(Network(CHAIN_ID, self.genesis_hash))
        self.checker = Checker(self.authors, set())
        self.receipts: dict[bytes, tuple[int, bytes]] = {}
        """Transactions that a server has shown included: height and block hash."""
        self.taken: set[bytes] = set()
        self._heads: dict[int, int] = {}

    def begin(self, honest: set[bytes]) -> None:
        self.checker = Checker(self.authors, honest)

    def see_block(self, machine: "Machine", raw_header: bytes, raw_certificate: bytes) -> None:
        """S1 and S2, as a block is written."""
        assert machine.node is not None
        header = decode_header(raw_header)
        certificate = decode_certificate(raw_certificate)
        validators = machine.node.chain.validators_of(header.extra_data) or ()
        self.checker.see_import(Block(header, ()), certificate, validators)
        self._realm.tell(f"{machine.name} writes {header.number} of round {certificate.round}")

    def see_answers(
        self, machine: "Machine", transactions: tuple[Transaction, ...], answers: Any
    ) -> None:
        for transaction, answer in zip(transactions, answers, strict=True):
            if isinstance(answer, Transaction):
                self.taken.add(transaction.hash)

    def read(self) -> None:
        """A client asks every server that runs for its head and for every receipt it knows."""
        for machine in self._realm.honest:
            if machine.node is None or machine.life is None or machine.life.asleep:
                continue
            machine.life.context.run(self._read_one, machine)

    def _read_one(self, machine: "Machine") -> None:
        node = machine.node
        assert node is not None
        head = node.chain.head.number
        if head < self._heads.get(machine.index, 0):
            raise Violation("S5", f"{machine.name} goes back to {head}")
        self._heads[machine.index] = head
        for transaction_hash in self.taken:
            found = node.chain.find_transaction(transaction_hash)
            known = self.receipts.get(transaction_hash)
            if found is None:
                if known is not None and head >= known[0]:
                    raise Violation("S3", f"{machine.name} has lost a receipt of block {known[0]}")
                continue
            place = found[0], node.chain.header(found[0]).hash
            if known is not None and known != place:
                raise Violation("S3", f"{machine.name} shows a receipt in another block")
            self.receipts[transaction_hash] = place

    def forget_head(self, machine: "Machine") -> None:
        """An operator has put an older disk in: it may go back, once."""
        self._heads.pop(machine.index, None)

    def check_bounds(self) -> None:
        """R, of every machine that runs."""
        for machine in self._realm.honest:
            if machine.node is None:
                continue
            node, limits = machine.node, PoolLimits()
            engine: Any = node.engine
            decision = engine._decision
            bounds = {
                "pool": (node.pool.size, limits.transactions_max),
                "buffered bytes": (
                    sum(kept.held_bytes.total() for kept in engine._later.values()),
                    BUFFER_BYTES_MAX,
                ),
                "proposals kept": (len(decision._blocks), BLOCKS_KEPT),
                "evidence": (len(engine.evidence), EVIDENCE_MAX),
                "executions": (len(node.chain._executions), EXECUTIONS_MAX),
                "connections": (len(node.network.peers), len(self._realm.machines)),
            }
            for peer in node.network.peers.values():
                bounds["queue frames"] = len(peer._queue), SEND_QUEUE_FRAMES_MAX
                bounds["queue bytes"] = peer._queued_bytes, SEND_QUEUE_BYTES_MAX
            for what, (size, limit) in bounds.items():
                if size > limit:
                    raise Violation("R", f"{machine.name}: {what}: {size} of at most {limit}")

    def check_end(self) -> None:
        """After a run: S3 and S5 once more, S4, R, and no error of ours in any log."""
        self.read()
        self.check_bounds()
        for machine in self._realm.honest:
            self._execute_again(machine)
            if "internal error" in machine.log.getvalue():
                raise Violation("R", f"{machine.name}'s log: {machine.log.getvalue()}")

    def _execute_again(self, machine: "Machine") -> None:
        """S4: a new chain over nothing but the blocks of this disk."""
        disk = machine.disk.store
        chain = Chain(MemoryStore(), self._realm.genesis)
        for height in range(1, disk.head_height() + 1):
            header, body = disk.get_header(height), disk.get_body(height)
            assert header is not None and body is not None
            block = Block(decode_header(header), decode_body(body))
            certificate = decode_certificate(disk.get_certificate(height) or b"")
            try:
                chain.check(block, None)
                committed = chain.commit(block, certificate, None)
            except Exception as error:
                raise Violation("S4", f"{machine.name}, block {height}: {error}") from error
            kept = disk.get_receipts(height)
            if kept is not None and kept != encode_receipts(committed.receipts):
                raise Violation("S4", f"{machine.name}, block {height}: other receipts are kept")
