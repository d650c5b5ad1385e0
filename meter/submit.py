"""Period records become transactions of the Metering contract, each period on chain exactly once.

The only module of this room that knows transactions. One transaction of a meter is under way at a
time; a backlog goes in batches of consecutive periods. The steps, each safe to repeat:

1. Nothing under way: take the oldest waiting records; ask one node, in one batch, for the chain's
   identity, the head, the nonce and the gas. A node that serves another chain, or lags behind what
   this meter has seen settled, is not used. What the contract would refuse is not sent.
2. Sign, and store the bytes with their nonce durably. Only then send them.
3. Ask for the receipt; without one, the same bytes go to the next node, for as long as it takes.
   Where blocks are mined a receipt counts once `confirmations` blocks follow its block: until then
   it may be withdrawn, and the same bytes are sent again.
4. A receipt settles the periods, durably. If the transaction failed, or its nonce was used by
   another one, each period is looked up on the chain: what is there is settled, what is not waits
   again. A period is thus never sent twice unless the chain says that it has it not.

Because the nonce is stored with the bytes, and a nonce is used once, at most one of any two
transactions that this module signed for the same periods can ever be included.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from ledger.crypto.address import address_of, to_checksum
from ledger.encoding.hexadecimal import encode_data
from ledger.transaction import decode_transaction, sign_transaction
from meter.chain_view import (
    ALREADY_RECORDED,
    NOT_ENROLLED,
    REFUSALS,
    ChainView,
    Head,
    encode_change,
    encode_records,
    read_member,
    read_quantity,
)
from meter.config import SubmitSettings
from meter.errors import CallRefused, NodeError, NodeUnreachable, OutboxFull, WrongChain
from meter.faults import Faults
from meter.outbox import Event, Outbox, Outgoing
from meter.reading import PeriodRecord
from meter.rpc import Node, Nodes

REVERTED = 3  # the JSON-RPC code of a revert
GAS_MARGIN_DIVISOR = 4  # a quarter on top of the estimate; what is not used costs nothing
POLL_MS_MAX = 2_000  # a final block takes a second; more often would only load a Pi
PENDING_WAIT_S = 60.0  # for transactions of this key that the outbox does not know
REFUSED_WAIT_S, REFUSED_WAIT_S_MAX = 2.0, 300.0  # until a person has enrolled the meter
DISK_WAIT_S = 10.0


class Submitter:
    """Sends one outbox with one key. `run` never returns; `wake` when records were added."""

    def __init__(
        self,
        settings: SubmitSettings,
        private_key: bytes,
        outbox: Outbox,
        nodes: Nodes,
        faults: Faults,
        log: logging.Logger,
    ) -> None:
        self.address = address_of(private_key)
        self.settled = asyncio.Event()  # set while nothing waits
        self._settings = settings
        self._key = private_key
        self._outbox = outbox
        self._nodes = nodes
        self._view = ChainView(settings, self.address, outbox, log)
        self._faults = faults
        self._log = log
        self._work = asyncio.Event()
        self._batch_max = settings.batch_max
        self._wait_s = REFUSED_WAIT_S
        self._pending_since_s: float | None = None

    def wake(self) -> None:
        self.settled.clear()
        self._work.set()

    async def run(self) -> None:
        """Send what waits, for ever. Raises OutboxError if the file is damaged."""
        while True:
            self._work.clear()
            if not await self._step():
                self.settled.set()
                await self._work.wait()

    async def _step(self) -> bool:
        """One attempt at the oldest work; False if there is none. Node failures end in a rest."""
        outgoing = self._outbox.get_outgoing()
        change = None if outgoing else self._outbox.get_change()
        records = [] if outgoing or change else self._outbox.get_waiting(self._batch_max)
        if outgoing is None and change is None and not records:
            return False
        self.settled.clear()
        node = await self._nodes.pick()
        try:
            if outgoing is not None:
                await self._follow(node, outgoing)
            elif change is not None:
                await self._prepare(node, [], encode_change(change[1]), change[0])
            else:
                await self._prepare(node, records, encode_records(records))
            self._nodes.worked(node)
        except WrongChain as error:
            self._faults.count("wrong_chain", str(error))
            self._nodes.failed(node)
        except CallRefused as error:
            self._faults.count("node_refused", str(error))
            self._nodes.failed(node)
        except NodeError as error:
            self._faults.count("node_unreachable", str(error))
            self._nodes.failed(node)
        except OutboxFull as error:
            self._faults.count("disk_full", str(error))
            await asyncio.sleep(DISK_WAIT_S)
        return True

    # A new transaction.

    async def _prepare(
        self, node: Node, records: Sequence[PeriodRecord], data: bytes, change: int | None = None
    ) -> None:
        """Sign and store the transaction for these records or this change; the next step sends."""
        head = await self._view.ask_head(node, data)
        if isinstance(head.gas, CallRefused):
            if change is not None and self._is_final(head.gas):
                event = Event(_now_ms(), "change_refused", f"{encode_data(data)}: {head.gas.text}")
                self._outbox.drop_change(change, event)
                return
            await self._refused(node, head.gas, records)
            return
        gas = head.gas + head.gas // GAS_MARGIN_DIVISOR
        if gas > head.gas_limit // 2 and len(records) > 1:
            self._batch_max = len(records) // 2
            return
        nonce = await self._choose_nonce(node, head)
        if nonce is None:
            return
        self._wait_s = REFUSED_WAIT_S
        price = min(await self._view.ask_price(node), self._settings.gas_price_wei_max)
        self._sign(nonce, data, min(gas, head.gas_limit), price, records, change)

    @staticmethod
    def _is_final(refusal: CallRefused) -> bool:
        """A contract without `noteRegister` will never take it; readings must not wait for that."""
        return refusal.code == REVERTED and refusal.data[:4] != NOT_ENROLLED

    def _sign(
        self,
        nonce: int,
        data: bytes,
        gas: int,
        price_wei: int,
        records: Sequence[PeriodRecord],
        change: int | None = None,
    ) -> None:
        """Make the bytes durable. Nothing is sent from here."""
        transaction = sign_transaction(
            self._key,
            chain_id=self._settings.chain_id,
            nonce=nonce,
            to=self._settings.contract,
            gas=gas,
            gas_price=price_wei,
            data=data,
        )
        self._outbox.save_outgoing(
            nonce, transaction.hash, transaction.raw, [one.period for one in records], change
        )

    async def _choose_nonce(self, node: Node, head: Head) -> int | None:
        """The next nonce; None to try again while an unknown transaction of this key is pending."""
        if head.nonce_pending <= head.nonce:
            self._pending_since_s = None
            return head.nonce
        self._faults.count("foreign_nonce", f"a transaction of {to_checksum(self.address)} waits")
        now_s = time.monotonic()
        if self._pending_since_s is None:
            self._pending_since_s = now_s
        if now_s - self._pending_since_s < PENDING_WAIT_S:
            await asyncio.sleep(self._settings.poll_ms / 1_000)
            return None
        return head.nonce_pending

    async def _refused(
        self, node: Node, refusal: CallRefused, records: Sequence[PeriodRecord]
    ) -> None:
        """The contract would not take these records: find out why, send nothing."""
        if refusal.data[:4] == ALREADY_RECORDED:
            block, found = await self._view.look_up(node, records)
            if found:
                conflicts = self._compare(records, found)
                self._outbox.settle_waiting(block, [one.period for one in found], conflicts)
                return
            if self._settings.confirmations:  # recorded, but not yet for good
                await asyncio.sleep(POLL_MS_MAX / 1_000)
                return
        if refusal.code != REVERTED and len(records) > 1:
            self._batch_max = max(1, len(records) // 2)  # too much gas for a block
            return
        reason = REFUSALS.get(refusal.data[:4], refusal.text)
        who = to_checksum(self.address)
        self._faults.count("contract_refused", f"meter {who}: {reason}")
        await asyncio.sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, REFUSED_WAIT_S_MAX)

    # A transaction under way.

    async def _follow(self, node: Node, outgoing: Outgoing) -> None:
        """Send the stored bytes again and wait for a receipt; go to the next node without one."""
        if await self._settle_by_receipt(node, outgoing):
            return
        try:
            await node.call("eth_sendRawTransaction", encode_data(outgoing.raw))
        except CallRefused as error:
            if not await self._send_refused(node, outgoing, error):
                return
        poll_ms, deadline_s = self._settings.poll_ms, time.monotonic() + self._settings.resend_s
        while time.monotonic() < deadline_s:
            await asyncio.sleep(poll_ms / 1_000)
            poll_ms = min(poll_ms * 3 // 2, POLL_MS_MAX)
            if await self._settle_by_receipt(node, outgoing):
                return
        self._nodes.rotate()

    async def _send_refused(self, node: Node, outgoing: Outgoing, error: CallRefused) -> bool:
        """Whether to go on waiting for a receipt after this refusal."""
        text = error.text.lower()
        if "already known" in text or "known transaction" in text:
            return True
        if "nonce too low" in text:
            await self._nonce_used(node, outgoing)
            return False
        if "less than block base fee" in text or "underpriced" in text or "gas price" in text:
            if await self._raise_price(node, outgoing):
                return False
            raise CallRefused(
                node.url,
                "eth_sendRawTransaction",
                error.code,
                f"{error.text}; raise gas_price_max_wei",
            )
        raise error

    async def _settle_by_receipt(self, node: Node, outgoing: Outgoing) -> bool:
        """Settle by the receipt of any of the hashes, if the chain has one."""
        receipts = await self._view.ask(
            node,
            [("eth_getTransactionReceipt", [encode_data(one)]) for one in outgoing.hashes]
            + [("eth_blockNumber", [])],
        )
        head = read_quantity(node, receipts.pop())
        for receipt, transaction_hash in zip(receipts, outgoing.hashes, strict=True):
            if receipt is None or isinstance(receipt, CallRefused):
                continue
            if read_member(node, receipt, "transactionHash") != encode_data(transaction_hash):
                raise NodeUnreachable(node.url, "answers with another transaction's receipt")
            block = read_quantity(node, read_member(node, receipt, "blockNumber"))
            if head < block + self._settings.confirmations:
                continue
            if read_quantity(node, read_member(node, receipt, "status")) == 1:
                periods = [record.period for record in outgoing.records]
                self._outbox.settle(outgoing.nonce, block, periods, succeeded=True)
                self._batch_max = min(self._batch_max * 2, self._settings.batch_max)
                self._log.info("%s in block %d", _name(outgoing.records), block)
                return True
            self._faults.count("reverted", f"{encode_data(transaction_hash)} in block {block}")
            event = Event(_now_ms(), "reverted", f"{encode_data(transaction_hash)} block {block}")
            await self._settle_by_look_up(node, outgoing, [event])
            return True
        return False

    async def _nonce_used(self, node: Node, outgoing: Outgoing) -> None:
        """The nonce is taken: by our transaction, or by someone else with this key."""
        if await self._settle_by_receipt(node, outgoing):
            return
        sender = encode_data(self.address)
        tag = await self._view.find_settled(node)
        (count,) = await self._view.ask(node, [("eth_getTransactionCount", [sender, tag])])
        if read_quantity(node, count) <= outgoing.nonce:
            # In its pool, in a block whose receipt is not served yet, or in one that may still be
            # withdrawn: ask again.
            await asyncio.sleep(POLL_MS_MAX / 1_000)
            return
        self._faults.count(
            "foreign_nonce", f"nonce {outgoing.nonce} of {to_checksum(self.address)}"
        )
        event = Event(_now_ms(), "foreign_nonce", f"nonce {outgoing.nonce} was used by another")
        await self._settle_by_look_up(node, outgoing, [event])

    async def _settle_by_look_up(
        self, node: Node, outgoing: Outgoing, events: Sequence[Event]
    ) -> None:
        """This transaction recorded nothing: settle what the chain has, let the rest wait again."""
        block, found = await self._view.look_up(node, outgoing.records)
        conflicts = self._compare(outgoing.records, found)
        periods = [record.period for record in found]
        self._outbox.settle(outgoing.nonce, block, periods, [*events, *conflicts])

    def _compare(
        self, measured: Sequence[PeriodRecord], found: Sequence[PeriodRecord]
    ) -> list[Event]:
        """Where the chain has another value: it stands, and a person is told."""
        by_period = {record.period: record for record in measured}
        events = []
        for record in found:
            if by_period[record.period] != record:
                detail = f"measured {by_period[record.period]}, the chain has {record}"
                events.append(Event(_now_ms(), "conflict", detail))
                self._faults.count("conflict", detail)
        return events

    async def _raise_price(self, node: Node, outgoing: Outgoing) -> bool:
        """Sign the same call with the same nonce at a higher price; False at the limit."""
        old = decode_transaction(outgoing.raw)
        asked = await self._view.ask_price(node)
        price = max(asked, old.gas_price + max(1, old.gas_price // 10))
        if price > self._settings.gas_price_wei_max:
            return False
        self._sign(outgoing.nonce, old.data, old.gas, price, outgoing.records)
        return True


def _name(records: Sequence[PeriodRecord]) -> str:
    if not records:
        return "a change of the register"
    if len(records) == 1:
        return f"period {records[0].period}"
    return f"periods {records[0].period} to {records[-1].period}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
