"""What a node knows of the chain that a meter records on, asked so that the answer can be believed.

Every batch begins with the chain's identity: another chain id or genesis, and nothing else in it
counts. Also the Metering contract as a meter sees it: its calls, views and refusals. Transactions
are none of this module's business (`meter.submit`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import (
    decode_data,
    decode_quantity,
    encode_data,
    encode_quantity,
)
from ledger.errors import EncodingError
from ledger.types import Address
from meter.config import SubmitSettings
from meter.errors import CallRefused, NodeUnreachable, WrongChain
from meter.outbox import Outbox
from meter.reading import PeriodRecord, RegisterChange
from meter.rpc import Call, Node

RECORD = "record(uint32,uint64,uint64,uint8)"
RECORD_MANY = "recordMany(uint32,uint64[],uint64[],uint8[])"
NOTE_REGISTER = "noteRegister(uint8,uint32,uint64,uint64)"
READING = "reading(address,uint32)"
NOT_ENROLLED = abi.selector("NotEnrolled(address)")
ALREADY_RECORDED = abi.selector("AlreadyRecorded(address,uint32)")
REFUSALS = {
    NOT_ENROLLED: "it is not enrolled; an operator calls enrol",
    abi.selector("InvalidPeriod(uint256)"): "the period is out of the contract's range",
}


@dataclass(frozen=True, slots=True)
class Head:
    """What a node says of its newest block and of this meter's account.

    `gas` is what the asked call takes, or why it would be refused.
    """

    number: int
    gas_limit: int
    nonce: int
    nonce_pending: int
    gas: int | CallRefused


class ChainView:
    """Asks for one meter. The first genesis seen is kept in its outbox unless one is set."""

    def __init__(
        self, settings: SubmitSettings, address: Address, outbox: Outbox, log: logging.Logger
    ) -> None:
        self._settings = settings
        self._address = address
        self._outbox = outbox
        self._log = log

    async def ask(self, node: Node, calls: Sequence[Call]) -> list[Any]:
        """A batch's answers; WrongChain if the node that gave them has another chain."""
        chain_id, genesis, *answers = await node.batch(
            [("eth_chainId", []), ("eth_getBlockByNumber", ["0x0", False]), *calls]
        )
        number = read_quantity(node, chain_id)
        if number != self._settings.chain_id:
            raise WrongChain(
                node.url,
                f"has chain id {number}, chain_id of this meter is {self._settings.chain_id}",
            )
        found = str(read_member(node, genesis, "hash"))
        expected = self._settings.genesis_hash
        kept = encode_data(expected) if expected else self._outbox.get_meta("genesis")
        if kept is None:
            self._outbox.set_meta("genesis", found)
            self._log.info("chain %d with genesis %s", self._settings.chain_id, found)
        elif kept != found:
            raise WrongChain(
                node.url, f"has genesis {found}, this meter records on the chain of genesis {kept}"
            )
        return answers

    async def ask_head(self, node: Node, data: bytes) -> Head:
        """The node's head, and the gas that a call with `data` takes there."""
        sender, contract = encode_data(self._address), encode_data(self._settings.contract)
        call = {"from": sender, "to": contract, "data": encode_data(data)}
        block, latest, pending, code, period_s, gas = await self.ask(
            node,
            [
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_getTransactionCount", [sender, "latest"]),
                ("eth_getTransactionCount", [sender, "pending"]),
                ("eth_getCode", [contract, "latest"]),
                ("eth_call", [self._call("periodSeconds()", ()), "latest"]),
                ("eth_estimateGas", [call]),
            ],
        )
        head = Head(
            number=read_quantity(node, read_member(node, block, "number")),
            gas_limit=read_quantity(node, read_member(node, block, "gasLimit")),
            nonce=read_quantity(node, latest),
            nonce_pending=read_quantity(node, pending),
            gas=gas if isinstance(gas, CallRefused) else read_quantity(node, gas),
        )
        self._check_history(node, head)
        self._check_contract(node, head, code, period_s)
        return head

    async def ask_price(self, node: Node) -> int:
        """Wei per gas that the node suggests; not asked where nothing may be paid."""
        if self._settings.gas_price_wei_max == 0:
            return 0
        return read_quantity(node, await node.call("eth_gasPrice"))

    async def look_up(
        self, node: Node, records: Sequence[PeriodRecord]
    ) -> tuple[int, list[PeriodRecord]]:
        """A block, and what the chain has in it or later of these periods.

        Where blocks must follow, it is one that so many do follow, and what the chain had there.
        """
        tag = await self.find_settled(node)
        calls: list[Call] = [("eth_blockNumber", [])]
        for record in records:
            call = self._call(READING, (self._address, record.period))
            calls.append(("eth_call", [call, tag]))
        number, *answers = await self.ask(node, calls)
        found = []
        for record, answer in zip(records, answers, strict=True):
            if (there := _read_reading(node, answer, record)) is not None:
                found.append(there)
        settled = read_quantity(node, number) if tag == "latest" else decode_quantity(tag)
        return settled, found

    async def find_settled(self, node: Node) -> str:
        """The newest block that counts, as a tag: on a chain that is final the head."""
        if self._settings.confirmations == 0:
            return "latest"
        (number,) = await self.ask(node, [("eth_blockNumber", [])])
        return encode_quantity(max(0, read_quantity(node, number) - self._settings.confirmations))

    def _check_history(self, node: Node, head: Head) -> None:
        """A node behind what was settled would name an old nonce: nothing is signed by it."""
        block = int(self._outbox.get_meta("block") or 0)
        if head.number < block:
            raise WrongChain(
                node.url,
                f"is at block {head.number}, this meter's readings reach to block {block}; it is "
                "catching up, or its network was started anew",
            )
        if head.nonce < int(self._outbox.get_meta("next_nonce") or 0):
            raise WrongChain(
                node.url,
                "does not know this meter's earlier transactions; if its network was started anew, "
                f"move {self._outbox.file} away",
            )

    def _check_contract(self, node: Node, head: Head, code: Any, period_s: Any) -> None:
        """A call of an account without code would succeed and record nothing."""
        contract = to_checksum(self._settings.contract)
        if not isinstance(code, str) or code == "0x":
            raise WrongChain(node.url, f"has no contract at {contract} in block {head.number}")
        if isinstance(period_s, CallRefused):
            raise WrongChain(
                node.url, f"the contract at {contract} is no Metering contract: {period_s.text}"
            )
        seconds = int.from_bytes(_read_words(node, period_s, 1)[:32])
        if seconds != self._settings.period_seconds:
            raise WrongChain(
                node.url,
                f"the contract at {contract} has periods of {seconds} s, period_seconds of this "
                f"meter is {self._settings.period_seconds}; set it to the contract's",
            )

    def _call(self, signature: str, values: Sequence[Any]) -> dict[str, str]:
        data = abi.encode_call(signature, values)
        return {"to": encode_data(self._settings.contract), "data": encode_data(data)}


def encode_change(change: RegisterChange) -> bytes:
    """Call data that says what a register did."""
    values = (change.kind, change.period, change.before_wh, change.after_wh)
    return abi.encode_call(NOTE_REGISTER, values)


def encode_records(records: Sequence[PeriodRecord]) -> bytes:
    """Call data that records these consecutive periods, all or nothing."""
    first = records[0]
    if len(records) == 1:
        values = (first.period, first.import_wh, first.export_wh, first.quality)
        return abi.encode_call(RECORD, values)
    imports = [record.import_wh for record in records]
    exports = [record.export_wh for record in records]
    qualities = [record.quality for record in records]
    return abi.encode_call(RECORD_MANY, (first.period, imports, exports, qualities))


def read_member(node: Node, value: Any, name: str) -> Any:
    """One member of an answer that is an object. Raises what was refused, or NodeUnreachable."""
    if isinstance(value, CallRefused):
        raise value
    if not isinstance(value, dict) or name not in value:
        raise NodeUnreachable(node.url, f"answers without {name!r}; is it a node?")
    return value[name]


def read_quantity(node: Node, value: Any) -> int:
    """An answer that is a number. Raises what was refused, or NodeUnreachable."""
    if isinstance(value, CallRefused):
        raise value
    try:
        return decode_quantity(value)
    except EncodingError as error:
        raise NodeUnreachable(node.url, f"answers {value!r} where a number belongs") from error


def _read_words(node: Node, value: Any, count: int) -> bytes:
    """Return data of at least `count` words."""
    if isinstance(value, CallRefused):
        raise value
    try:
        words = decode_data(value)
    except EncodingError as error:
        raise NodeUnreachable(node.url, f"answers {value!r} where words belong") from error
    if len(words) < 32 * count:
        raise NodeUnreachable(node.url, f"answers a view with {len(words)} bytes")
    return words


def _read_reading(node: Node, value: Any, measured: PeriodRecord) -> PeriodRecord | None:
    """What the view `reading` says of a period: importWh, exportWh, quality, recorded, corrections.

    None if it is not recorded. What an operator has corrected is no other word of the meter.
    """
    words = _read_words(node, value, 5)
    first, second, quality, recorded, corrections = (
        int.from_bytes(words[at : at + 32]) for at in range(0, 160, 32)
    )
    if not recorded:
        return None
    return measured if corrections else PeriodRecord(measured.period, first, second, quality)
