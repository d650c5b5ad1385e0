"""Methods that run a message and forget what it did: eth_call, eth_estimateGas; and what gas costs.

Gas is capped at the block gas limit, which bounds the time of one run; long searches rest between
runs. What fails is told in geth's texts, a rejected contract by its rule, line and hint, which no
receipt ever shows. Sources: Ethereum execution-apis; go-ethereum internal/ethapi.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ledger.contract.artifact import decode_payload
from ledger.contract.compile import compile_contract
from ledger.contract.execution import BlockContext, Message, Outcome
from ledger.crypto.address import ZERO_ADDRESS, contract_address, to_checksum
from ledger.errors import (
    ContractRejected,
    EncodingError,
    InsufficientFunds,
    IntrinsicGasTooLow,
    NotPermitted,
)
from ledger.permissions import may_deploy
from ledger.state.state import State
from ledger.transaction import Transaction
from ledger.types import Address, Height
from node.recent import Full
from node.rpc.context import METHODS, Context, get_height
from node.rpc.dispatch import rest
from node.rpc.errors import LIMIT_EXCEEDED, SERVER_ERROR, RpcError, explain_revert
from node.rpc.parameters import (
    LATEST,
    AccountOverride,
    BlockOverride,
    BlockTag,
    CallRequest,
    Parameter,
    parse_account_overrides,
    parse_block,
    parse_block_override,
    parse_call,
    parse_count,
    parse_percentiles,
)

ESTIMATE_S_MAX = 5.0
"""For the runs of one estimate; geth gives a call as long."""
HISTORY_BLOCKS_MAX = 1_024
REWARD_BLOCKS_MAX = 100
"""With percentiles every block and its receipts are read."""

AS_IT_IS = BlockOverride()
CALL = Parameter("transaction", parse_call)
AT_BLOCK = Parameter("block", parse_block, LATEST)


@METHODS.method("eth_gasPrice")
def gas_price(context: Context) -> str:
    return hex(context.node.chain.head.base_fee)


@METHODS.method("eth_maxPriorityFeePerGas")
def max_priority_fee(context: Context) -> str:
    """Nothing: whoever pays the base fee is included."""
    return "0x0"


@METHODS.method(
    "eth_feeHistory",
    Parameter("block count", parse_count),
    Parameter("newest block", parse_block, LATEST),
    Parameter("reward percentiles", parse_percentiles, ()),
    heavy=True,
)
async def fee_history(
    context: Context, count: int, tag: BlockTag, percentiles: tuple[float, ...]
) -> dict[str, Any]:
    """Base fees, fullness and, with percentiles, tips of the newest blocks, oldest first."""
    newest = get_height(context, tag)
    count = min(count, REWARD_BLOCKS_MAX if percentiles else HISTORY_BLOCKS_MAX, newest + 1)
    heights = range(newest - count + 1, newest + 1)
    headers = [context.node.chain.header(height) for height in heights]
    result: dict[str, Any] = {
        "oldestBlock": hex(heights.start),
        # One more than asked for: that of the next block, which a setting of the chain fixes.
        "baseFeePerGas": [hex(header.base_fee) for header in headers]
        + ([hex(headers[-1].base_fee)] if headers else []),
        "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
    }
    if percentiles:
        rewards = []
        started = time.perf_counter()
        for height in heights:
            rewards.append(_rewards(context.node.recent.get(height), percentiles))
            started = await rest(started)
        result["reward"] = rewards
    return result


@METHODS.method(
    "eth_call",
    CALL,
    AT_BLOCK,
    Parameter("accounts", parse_account_overrides, ()),
    Parameter("block fields", parse_block_override, AS_IT_IS),
    heavy=True,
)
def call(
    context: Context,
    request: CallRequest,
    tag: BlockTag,
    accounts: Sequence[AccountOverride],
    block: BlockOverride,
) -> str:
    """What a message returns; a revert is code 3 with the contract's data.

    With `latest` the time is the head's, as at geth; with `pending`, now: a quiet chain's head can
    be days old. `accounts` and `block` are what this call alone finds instead.
    """
    prepared = prepare_run(
        context, request, get_height(context, tag), tag.name == "pending", accounts
    )
    prepared.block = block
    outcome = prepared.run(prepared.gas_max)
    if outcome.status != "success":
        raise explain_failure(outcome, request, prepared.gas_max)
    return "0x" + outcome.output.hex()


@METHODS.method("eth_estimateGas", CALL, AT_BLOCK, heavy=True)
async def estimate(context: Context, request: CallRequest, tag: BlockTag) -> str:
    now = tag.name in ("latest", "pending")
    return hex(await estimate_gas(context, request, get_height(context, tag), now))


async def estimate_gas(
    context: Context, request: CallRequest, height: Height, now: bool = True
) -> int:
    """The least gas limit with which a transaction succeeds. Raises RpcError saying why none does.

    `now` is for a transaction still to be sent: it will run in a block of this time.

    One run with all the gas tells what is used; a second one, whether so much is also enough. Only
    where a contract acts on what is left must the limit be searched.
    """
    prepared = prepare_run(context, request, height, now)
    started = begun = time.perf_counter()
    outcome = prepared.run(prepared.gas_max)
    if outcome.status == "out_of_gas":
        raise RpcError(SERVER_ERROR, f"gas required exceeds allowance ({prepared.gas_max})")
    if outcome.status != "success":
        raise explain_failure(outcome, request, prepared.gas_max)
    too_low, enough = prepared.intrinsic - 1, prepared.gas_max
    attempt = prepared.gas_max - outcome.gas_left
    while too_low + 1 < enough:
        started = await rest(started)
        if time.perf_counter() - begun > ESTIMATE_S_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"no estimate within {ESTIMATE_S_MAX:.0f} s")
        if prepared.run(attempt).status == "success":
            enough = attempt
            attempt -= 1  # mostly the proof that one less is too little
        else:
            too_low = attempt
            attempt = (too_low + enough) // 2
    return enough


@dataclass(slots=True)
class Prepared:
    """A message that can be run with any gas limit on the state of one block."""

    context: Context
    request: CallRequest
    height: Height | None
    sender: Address
    to: Address
    intrinsic: int
    gas_max: int
    gas_price: int
    now: bool
    accounts: Sequence[AccountOverride] = ()
    block: BlockOverride = AS_IT_IS

    def run(self, gas: int) -> Outcome:
        """Run it with so much gas, the intrinsic part included."""
        message = Message(
            sender=self.sender,
            to=self.to,
            value=self.request.value,
            data=self.request.data,
            gas=gas - self.intrinsic,
            static=False,
            origin=self.sender,
            gas_price=self.gas_price,
        )
        creation = self.request.to is None
        chain, now_s = self.context.node.chain, int(time.time()) if self.now else None
        return chain.call(
            message, self.height, creation=creation, now_s=now_s, prepare=self._prepare
        )

    def _prepare(self, state: State, context: BlockContext) -> BlockContext:
        """Put in what the caller wants this run to find."""
        override_accounts(state, self.accounts)
        block = self.block
        return replace(
            context,
            height=context.height if block.number is None else block.number,
            timestamp=context.timestamp if block.time is None else block.time,
        )


def override_accounts(state: State, accounts: Sequence[AccountOverride]) -> None:
    """What geth's state overrides say, put into a state that is forgotten afterwards."""
    for account in accounts:
        if account.balance is not None:
            state.set_balance(account.address, account.balance)
        if account.nonce is not None:
            state.set_nonce(account.address, account.nonce)
        for slot, value in account.slots:
            state.set_storage(account.address, slot, value)


def prepare_run(
    context: Context,
    request: CallRequest,
    height: Height,
    now: bool = False,
    accounts: Sequence[AccountOverride] = (),
) -> Prepared:
    """Check what a transaction of these fields would be refused for before it runs."""
    chain = context.node.chain
    state = chain.state_at(height)
    override_accounts(state, accounts)
    sender = request.sender if request.sender is not None else ZERO_ADDRESS
    if request.sender is not None and request.to is None and not may_deploy(state, sender):
        raise NotPermitted(to_checksum(sender), "deploy contracts")
    intrinsic = compute_intrinsic_gas(request)
    gas_max = chain.genesis.gas_limit
    if request.gas is not None:
        gas_max = min(gas_max, request.gas)
    price = request.max_fee if request.max_fee is not None else request.gas_price
    gas_max = _limit_by_funds(state, request, sender, price or 0, gas_max)
    if gas_max < intrinsic:
        raise IntrinsicGasTooLow(gas_max, intrinsic)
    to = request.to
    if to is None:
        to = contract_address(sender, state.get_nonce(sender))
    at = None if height == chain.head.number else height
    return Prepared(context, request, at, sender, to, intrinsic, gas_max, price or 0, now, accounts)


def compute_intrinsic_gas(request: CallRequest) -> int:
    """Gas used before anything runs, by the same rule as for a signed transaction."""
    return Transaction(
        raw=b"",
        type=2,
        chain_id=0,
        nonce=0,
        max_priority_fee=0,
        max_fee=0,
        gas=0,
        to=request.to,
        value=0,
        data=request.data,
        access_list=request.access_list,
        y_parity=0,
        r=0,
        s=0,
    ).intrinsic_gas()


def explain_failure(outcome: Outcome, request: CallRequest, gas: int) -> RpcError:
    """Why a run did not succeed, in geth's words, or by the rule that a contract breaks."""
    if outcome.status == "out_of_gas":
        return RpcError(SERVER_ERROR, f"out of gas: gas limit {gas}")
    if request.to is None and not outcome.output:
        rejected = find_rejection(request.data)
        if rejected is not None:
            return rejected
    return explain_revert(outcome.output)


def find_rejection(payload: bytes) -> RpcError | None:
    """What is wrong with the source in a creation's data; None where nothing is."""
    try:
        source, _ = decode_payload(payload)
        compile_contract(source)
    except EncodingError as error:
        return RpcError(SERVER_ERROR, f"contract rejected: {error}")
    except ContractRejected as error:
        detail = {
            "rule": error.rule,
            "line": error.line,
            "column": error.column,
            "text": error.text,
            "hint": error.hint,
        }
        return RpcError(SERVER_ERROR, f"contract rejected: {error}", detail)
    return None


def _limit_by_funds(
    state: State, request: CallRequest, sender: Address, price: int, gas_max: int
) -> int:
    """The gas that the sender can pay for beside the value. Raises InsufficientFunds."""
    if not request.value and not price:
        return gas_max
    balance = state.get_balance(sender)
    if request.value > balance:
        raise InsufficientFunds(to_checksum(sender), balance, request.value)
    return min(gas_max, (balance - request.value) // price) if price else gas_max


def _rewards(full: Full, percentiles: tuple[float, ...]) -> list[str]:
    """The priority fees at percentiles of a block's gas."""
    header = full.block.header
    tips = sorted(
        (transaction.effective_gas_price(header.base_fee) - header.base_fee, receipt.gas_used)
        for transaction, receipt in zip(full.block.transactions, full.receipts, strict=True)
    )
    if not tips:
        return ["0x0"] * len(percentiles)
    rewards: list[str] = []
    index, seen = 0, tips[0][1]
    for percentile in percentiles:
        while seen < header.gas_used * percentile / 100 and index < len(tips) - 1:
            index += 1
            seen += tips[index][1]
        rewards.append(hex(tips[index][0]))
    return rewards
