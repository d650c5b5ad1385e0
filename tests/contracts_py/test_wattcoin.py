"""The coin: ERC-20 as wallets know it, neighbours, suppliers, signed meters, use and debt."""

import pytest
from eth_abi import encode
from eth_account import Account as Wallet
from eth_account.messages import encode_typed_data

from contracts_py.wattcoin import (
    ISSUE_MAX,
    NOTICE_S,
    USAGE_MAX_WH,
    Accepted,
    AlreadyEnrolled,
    Bought,
    Cancelled,
    DebtForgiven,
    DebtPaid,
    Exhausted,
    Expired,
    InvalidAmount,
    InvalidSigner,
    MeterUpdated,
    NoSuchOffer,
    NoSupplier,
    NotEnoughPaid,
    NotEnrolled,
    NotOwner,
    NotSupplier,
    Offered,
    OldCounter,
    PolicyChanged,
    Retired,
    RiseAnnounced,
    SupplierSet,
    Used,
    ValueFell,
    Wattcoin,
)
from ledger.contract import (
    Approval,
    ERC20InsufficientAllowance,
    ERC20InsufficientBalance,
    ERC20InvalidReceiver,
    Transfer,
)
from ledger.contract.testing import CHAIN_ID, Chain, ContractPanic, make_account
from ledger.encoding.abi import selector

NOW = 1_700_000_000
TOKEN = 10**18
PRICE = 3 * 10**15  # wei a token
RATE = 2 * TOKEN  # a kWh
COINS = 10**20
NOBODY = bytes(20)
OWNER, SUPPLIER, HOUSE, NEIGHBOUR, OTHER, METER = (
    make_account(name) for name in ("owner", "supplier", "house", "neighbour", "other", "meter")
)


@pytest.fixture
def chain():
    chain = Chain(timestamp=NOW)
    for account in (HOUSE, NEIGHBOUR):
        chain.fund(account, COINS)
    return chain


@pytest.fixture
def coin(chain):
    coin = chain.deploy(Wattcoin, "Wattcoin", "WATT", sender=OWNER)
    coin.set_supplier(SUPPLIER, PRICE, RATE, True, sender=OWNER)
    coin.issue(1_000 * TOKEN, sender=SUPPLIER)
    coin.choose_supplier(SUPPLIER, sender=HOUSE)
    coin.enrol(METER, HOUSE, sender=OWNER)
    return coin


def buy(coin, amount=10 * TOKEN, value=COINS // 10):
    return coin.buy(amount, value=value, sender=HOUSE)


def typed(coin, kind, types, values, **domain):
    return encode_typed_data(
        {
            "name": "Wattcoin",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": coin.address,
            **domain,
        },
        {kind: [{"name": name, "type": type} for name, type in types.items()]},
        values,
    )


UPDATE = {"value": "uint256", "counter": "uint64", "powerW": "uint32"}
PERMIT = {
    "owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256",
    "deadline": "uint256",
}  # fmt: skip


def report(coin, value, counter, power_w=500, *, key=METER, claimed=None, **domain):
    """What a meter's own library signs and a relay brings."""
    values = {"value": value, "counter": counter, "powerW": power_w}
    signed = Wallet.sign_message(typed(coin, "MeterUpdate", UPDATE, values, **domain), key.key)
    r, s = (number.to_bytes(32, "big") for number in (signed.r, signed.s))
    return encode(
        ["bytes32", "bytes32", "uint8", "uint64", "uint32"],
        [r, s, signed.v, claimed or counter, power_w],
    )


def permit(coin, value, nonce, deadline=NOW, *, key=HOUSE, **domain):
    values = {
        "owner": "0x" + HOUSE.hex(), "spender": "0x" + OTHER.hex(), "value": value, "nonce": nonce,
        "deadline": deadline,
    }  # fmt: skip
    signed = Wallet.sign_message(typed(coin, "Permit", PERMIT, values, **domain), key.key)
    r, s = (number.to_bytes(32, "big") for number in (signed.r, signed.s))
    return HOUSE, OTHER, value, deadline, signed.v, r, s


def test_wallets_know_it(coin):
    assert (coin.name(), coin.symbol(), coin.decimals()) == ("Wattcoin", "WATT", 18)
    assert coin.total_supply() == coin.balance_of(SUPPLIER) == 1_000 * TOKEN
    erc20 = 0
    for signature in (
        "totalSupply()", "balanceOf(address)", "transfer(address,uint256)",
        "allowance(address,address)", "approve(address,uint256)",
        "transferFrom(address,address,uint256)",
    ):  # fmt: skip
        erc20 ^= int.from_bytes(selector(signature), "big")
    assert coin.supports_interface(erc20.to_bytes(4, "big"))
    assert coin.supports_interface(selector("supportsInterface(bytes4)"))
    assert not coin.supports_interface(b"\xff" * 4)


def test_transfers_and_allowances(coin):
    buy(coin)
    receipt = coin.transfer(OTHER, 3, sender=HOUSE)
    assert receipt.events == [Transfer(HOUSE, OTHER, 3)]
    assert coin.approve(OTHER, 5, sender=HOUSE).events == [Approval(HOUSE, OTHER, 5)]
    coin.transfer_from(HOUSE, NEIGHBOUR, 5, sender=OTHER)
    assert (coin.balance_of(NEIGHBOUR), coin.allowance(HOUSE, OTHER)) == (5, 0)
    with pytest.raises(ERC20InsufficientAllowance):
        coin.transfer_from(HOUSE, NEIGHBOUR, 1, sender=OTHER)
    coin.approve(OTHER, 2**256 - 1, sender=HOUSE)
    coin.transfer_from(HOUSE, NEIGHBOUR, 5, sender=OTHER)
    assert coin.allowance(HOUSE, OTHER) == 2**256 - 1
    with pytest.raises(ERC20InsufficientBalance):
        coin.transfer(OTHER, 11, sender=NEIGHBOUR)
    for receiver in (NOBODY, coin.address):
        with pytest.raises(ERC20InvalidReceiver):
            coin.transfer(receiver, 1, sender=HOUSE)


def test_a_permit_is_an_approval_once(coin, chain):
    assert coin.permit(*permit(coin, 7, 0), sender=NEIGHBOUR).events == [Approval(HOUSE, OTHER, 7)]
    assert (coin.nonces(HOUSE), coin.allowance(HOUSE, OTHER)) == (1, 7)
    for wrong in (
        permit(coin, 7, 0),  # used
        permit(coin, 7, 2),  # of a nonce to come
        permit(coin, 7, 1, key=OTHER),
        permit(coin, 7, 1, chainId=1),
        permit(coin, 7, 1, verifyingContract=NOBODY),
        (NOBODY, *permit(coin, 7, 1)[1:4], 27, bytes(32), bytes(32)),
    ):
        with pytest.raises(InvalidSigner):
            coin.permit(*wrong, sender=OTHER)
    chain.timestamp = NOW + 1
    with pytest.raises(Expired):
        coin.permit(*permit(coin, 7, 1), sender=OTHER)


def test_tokens_are_bought_of_ones_supplier_at_its_price(coin, chain):
    receipt = buy(coin, 10 * TOKEN)
    assert receipt.events[-1] == Bought(HOUSE, SUPPLIER, 10 * TOKEN, 10 * PRICE)
    assert chain.balance(SUPPLIER) == 10 * PRICE
    assert chain.balance(HOUSE) == COINS - 10 * PRICE
    buy(coin, 1)  # a part of a wei is a wei
    assert chain.balance(SUPPLIER) == 10 * PRICE + 1
    with pytest.raises(NotEnoughPaid):
        buy(coin, TOKEN, value=PRICE - 1)
    with pytest.raises(ERC20InsufficientBalance):
        buy(coin, 991 * TOKEN, value=COINS // 2)
    with pytest.raises(NoSupplier):
        coin.buy(1, value=1, sender=NEIGHBOUR)
    coin.set_supplier(SUPPLIER, PRICE, RATE, False, sender=OWNER)
    for call in (lambda: buy(coin), lambda: coin.choose_supplier(SUPPLIER, sender=NEIGHBOUR)):
        with pytest.raises(NoSupplier):
            call()
    with pytest.raises(NotSupplier):
        coin.issue(1, sender=SUPPLIER)
    coin.redeem(TOKEN, sender=SUPPLIER)  # what came back to it
    assert coin.total_supply() == 999 * TOKEN


def test_who_sets_suppliers(coin):
    coin.set_supplier(SUPPLIER, 2 * PRICE, RATE, True, sender=SUPPLIER)
    for sender, active in ((OTHER, True), (SUPPLIER, False), (HOUSE, True)):
        with pytest.raises(NotOwner):
            coin.set_supplier(SUPPLIER, PRICE, RATE, active, sender=sender)
    with pytest.raises(InvalidAmount):
        coin.set_supplier(SUPPLIER, 0, RATE, True, sender=OWNER)


def test_a_rate_rises_after_its_notice_and_falls_at_once(coin, chain):
    """Whoever owes a supplier cannot leave: a rise that came at once would bind it."""
    buy(coin)
    announced = coin.set_supplier(SUPPLIER, PRICE, 2 * RATE, True, sender=SUPPLIER)
    assert announced.events == [
        SupplierSet(SUPPLIER, PRICE, RATE, True),
        RiseAnnounced(SUPPLIER, 2 * RATE, chain.timestamp + NOTICE_S),
    ]
    assert coin.exhaust(1_000, sender=METER).events[-1].paid == RATE
    chain.travel(NOTICE_S - 1)
    again = coin.set_supplier(SUPPLIER, 5 * PRICE, 2 * RATE, True, sender=SUPPLIER)
    assert again.events == [SupplierSet(SUPPLIER, 5 * PRICE, RATE, True)], "it keeps its day"
    assert coin.supplier(SUPPLIER).rate == RATE
    chain.travel(1)
    assert coin.exhaust(1_000, sender=METER).events[-1].paid == 2 * RATE
    assert coin.supplier(SUPPLIER).rate == 2 * RATE == coin.rise_of(SUPPLIER).rate
    coin.set_supplier(SUPPLIER, PRICE, 3 * RATE, True, sender=OWNER)
    assert coin.supplier(SUPPLIER).rate == 2 * RATE, "the owner has to announce it as well"
    coin.set_supplier(SUPPLIER, PRICE, RATE // 2, True, sender=SUPPLIER)
    chain.travel(2 * NOTICE_S)
    assert coin.supplier(SUPPLIER).rate == RATE // 2 and coin.rise_of(SUPPLIER).from_s == 0


def test_neighbours_trade(coin, chain):
    buy(coin)
    offered = coin.offer(4 * TOKEN, PRICE // 2, sender=HOUSE)
    assert offered.events[-1] == Offered(1, HOUSE, 4 * TOKEN, PRICE // 2)
    before = chain.balance(HOUSE)
    accepted = coin.accept(1, TOKEN, value=COINS // 10, sender=NEIGHBOUR)
    assert accepted.events[-1] == Accepted(1, NEIGHBOUR, TOKEN, PRICE // 2)
    assert chain.balance(HOUSE) == before + PRICE // 2
    assert chain.balance(NEIGHBOUR) == COINS - PRICE // 2
    with pytest.raises(NoSuchOffer):
        coin.accept(1, 3 * TOKEN + 1, value=COINS // 10, sender=NEIGHBOUR)
    with pytest.raises(NotEnoughPaid):
        coin.accept(1, TOKEN, value=PRICE // 2 - 1, sender=NEIGHBOUR)
    with pytest.raises(NoSuchOffer):
        coin.cancel(1, sender=NEIGHBOUR)
    assert coin.cancel(1, sender=HOUSE).events[-1] == Cancelled(1, 3 * TOKEN)
    with pytest.raises(NoSuchOffer):
        coin.cancel(1, sender=HOUSE)
    assert coin.balance_of(HOUSE) == 9 * TOKEN
    for amount, price in ((0, 1), (1, 0)):
        with pytest.raises(InvalidAmount):
            coin.offer(amount, price, sender=HOUSE)
    with pytest.raises(ERC20InsufficientBalance):
        coin.offer(10 * TOKEN, 1, sender=HOUSE)


def test_anybody_relays_what_a_meter_signed(coin):
    receipt = coin.meter_update(1_000, report(coin, 1_000, 1), sender=OTHER)
    assert receipt.events == [MeterUpdated(METER, 1_000, 1, 500)]
    with pytest.raises(OldCounter):
        coin.meter_update(1_000, report(coin, 1_000, 1), sender=OTHER)
    with pytest.raises(ValueFell):
        coin.meter_update(999, report(coin, 999, 2), sender=OTHER)
    coin.meter_update(1_000, report(coin, 1_000, 9), sender=OTHER)  # some were lost on the way
    assert coin.meter(METER).counter == 9


@pytest.mark.parametrize(
    "wrong",
    [{"key": OTHER}, {"claimed": 5}, {"chainId": 1}, {"verifyingContract": NOBODY}],
    ids=str,
)
def test_nobody_else_reports_for_it(coin, wrong):
    with pytest.raises(NotEnrolled):
        coin.meter_update(1_000, report(coin, 1_000, 1, **wrong), sender=METER)
    with pytest.raises(NotEnrolled):
        coin.meter_update(1_001, report(coin, 1_000, 1), sender=METER)


@pytest.mark.parametrize("size", [0, 64, 65, 159])
def test_what_is_no_signature(coin, size):
    with pytest.raises(ContractPanic):
        coin.meter_update(1, report(coin, 1, 1)[:size], sender=METER)


def test_use_is_paid_to_the_supplier_and_what_is_not_there_is_owed(coin):
    buy(coin, 10 * TOKEN)
    used = coin.exhaust(4_000, sender=METER)
    assert used.events == [
        Transfer(HOUSE, SUPPLIER, 8 * TOKEN),
        Used(METER, HOUSE, 4_000, 8 * TOKEN),
    ]
    assert coin.supply_allowed(METER)
    used = coin.exhaust(1_500, sender=METER)
    assert used.events[-1] == Exhausted(METER, HOUSE, TOKEN)
    assert (coin.debt_of(HOUSE), coin.balance_of(HOUSE)) == (TOKEN, 0)
    assert not coin.supply_allowed(METER)
    with pytest.raises(NoSupplier):  # not while it owes this one
        coin.choose_supplier(SUPPLIER, sender=HOUSE)
    buy(coin, 3 * TOKEN)
    paid = coin.pay_debt(HOUSE, TOKEN // 4, sender=HOUSE)
    assert paid.events[-1] == DebtPaid(HOUSE, TOKEN // 4, 3 * TOKEN // 4)
    coin.exhaust(0, sender=METER)
    assert coin.debt_of(HOUSE) == 0
    assert coin.supply_allowed(METER)
    assert coin.balance_of(HOUSE) == 2 * TOKEN


def test_only_meters_use(coin):
    for sender in (HOUSE, OWNER, SUPPLIER):
        with pytest.raises(NotEnrolled):
            coin.exhaust(1, sender=sender)
    assert not coin.supply_allowed(OTHER)
    coin.enrol(OTHER, NEIGHBOUR, sender=OWNER)
    with pytest.raises(NoSupplier):
        coin.exhaust(1, sender=OTHER)
    assert not coin.supply_allowed(OTHER)  # or what it uses would be free
    with pytest.raises(AlreadyEnrolled):
        coin.enrol(METER, NEIGHBOUR, sender=OWNER)
    with pytest.raises(NotOwner):
        coin.enrol(NEIGHBOUR, NEIGHBOUR, sender=HOUSE)


def test_a_retired_meter_is_heard_no_more_and_nothing_it_signed_is_good_again(coin):
    first, second = report(coin, 1_000, 1), report(coin, 1_500, 2)
    coin.meter_update(1_000, first, sender=OTHER)
    for sender in (HOUSE, SUPPLIER, METER):
        with pytest.raises(NotOwner):
            coin.retire(METER, sender=sender)
    assert coin.retire(METER, sender=OWNER).events == [Retired(METER, HOUSE)]
    for call in (
        lambda: coin.exhaust(1, sender=METER),
        lambda: coin.meter_update(1_500, second, sender=OTHER),
        lambda: coin.retire(METER, sender=OWNER),
    ):
        with pytest.raises(NotEnrolled):
            call()
    assert not coin.supply_allowed(METER) and not coin.power_saving(METER)
    coin.enrol(METER, NEIGHBOUR, sender=OWNER)  # handed over
    with pytest.raises(OldCounter):
        coin.meter_update(1_000, first, sender=OTHER)
    with pytest.raises(ValueFell):
        coin.meter_update(999, report(coin, 999, 3), sender=OTHER)
    assert coin.meter_update(1_500, second, sender=OTHER).events[0].counter == 2
    with pytest.raises(NoSupplier):  # it is the neighbour's now, who has none
        coin.exhaust(1, sender=METER)


def test_a_faulty_meter_leaves_no_debt_that_nobody_can_pay(coin):
    with pytest.raises(InvalidAmount):
        coin.exhaust(USAGE_MAX_WH + 1, sender=METER)
    coin.exhaust(USAGE_MAX_WH, sender=METER)
    owed = coin.debt_of(HOUSE)
    assert owed == USAGE_MAX_WH * RATE // 1_000 > coin.total_supply()
    for sender in (HOUSE, OWNER, METER):
        with pytest.raises(NotSupplier):
            coin.forgive(HOUSE, owed, sender=sender)
    forgiven = coin.forgive(HOUSE, owed - 5, sender=SUPPLIER)
    assert forgiven.events == [DebtForgiven(HOUSE, owed - 5, 5)]
    assert coin.forgive(HOUSE, 2**256 - 1, sender=SUPPLIER).events == [DebtForgiven(HOUSE, 5, 0)]
    assert coin.supply_allowed(METER)
    with pytest.raises(NotSupplier):  # nothing is owed
        coin.forgive(HOUSE, 1, sender=SUPPLIER)


def test_no_supplier_fills_the_total_supply(coin):
    with pytest.raises(InvalidAmount):
        coin.issue(ISSUE_MAX + 1, sender=SUPPLIER)
    coin.issue(ISSUE_MAX, sender=SUPPLIER)
    assert coin.total_supply() == ISSUE_MAX + 1_000 * TOKEN
    with pytest.raises(InvalidAmount):  # what it holds is on offer, not its own to sell
        coin.set_supplier(coin.address, PRICE, RATE, True, sender=OWNER)


def test_power_is_saved_above_the_limit_while_the_policy_is_on(coin):
    coin.meter_update(0, report(coin, 0, 1, 100_001), sender=OTHER)
    assert not coin.power_saving(METER)
    assert coin.set_policy(True, 0, sender=HOUSE).events == [PolicyChanged(HOUSE, True, 100_000)]
    assert coin.power_saving(METER)
    coin.meter_update(0, report(coin, 0, 2, 100_000), sender=OTHER)
    assert not coin.power_saving(METER)
    coin.set_policy(True, 99_999, sender=HOUSE)
    assert coin.power_saving(METER)
    coin.set_policy(False, 99_999, sender=HOUSE)
    assert not coin.power_saving(METER)
