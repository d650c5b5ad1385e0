"""The published dapp: what it does to the letter, and a run of anything against a plain model."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts_py.el_dapp import (
    BillSet,
    DebtSet,
    NotActive,
    NotProvider,
    Provider,
    UsageSet,
    UserAdded,
    UserRemoved,
)
from ledger.contract.artifact import build_artifact
from ledger.contract.testing import Chain, make_account
from tests.contracts_py.sources import read_contract

PROVIDER, USER, OTHER = (make_account(name) for name in ("provider", "user", "other"))
NOW = int(datetime(2024, 2, 28, 12, tzinfo=UTC).timestamp())
INDIA = timezone(timedelta(hours=5, minutes=30))


def day_in_india(timestamp: int) -> int:
    return (datetime.fromtimestamp(timestamp, INDIA).date() - date(1970, 1, 1)).days


@pytest.fixture
def chain():
    return Chain(timestamp=NOW)


@pytest.fixture
def provider(chain):
    contract = chain.deploy(Provider, "Pune Power", "east of the river", sender=PROVIDER)
    contract.add_user(USER, sender=PROVIDER)
    return contract


def test_a_new_contract_says_who_it_is(provider):
    assert provider.provider_name() == "Pune Power"
    assert provider.description() == "east of the river"
    assert provider.owner() == PROVIDER
    assert not provider.is_active(OTHER)
    assert provider.get_usage(OTHER) == provider.get_bill(OTHER) == provider.last_update(OTHER) == 0


def test_the_provider_adds_and_removes_users_as_often_as_it_likes(provider):
    for _ in range(2):
        assert provider.add_user(OTHER, sender=PROVIDER).events == [UserAdded(OTHER)]
        assert provider.is_active(OTHER)
    for _ in range(2):
        assert provider.remove_user(OTHER, sender=PROVIDER).events == [UserRemoved(OTHER)]
        assert not provider.is_active(OTHER)


@pytest.mark.parametrize("method", ["add_user", "remove_user"])
def test_nobody_else_does(provider, method):
    with pytest.raises(NotProvider) as caught:
        getattr(provider, method)(OTHER, sender=USER)
    assert caught.value == NotProvider(USER)


def test_an_active_user_sets_its_own_usage_and_bill(provider, chain):
    assert provider.set_usage(70, sender=USER).events == [UsageSet(USER, 70)]
    chain.timestamp += 5
    assert provider.set_bill(30, sender=USER).events == [BillSet(USER, 30)]
    assert (provider.get_usage(USER), provider.get_bill(USER)) == (70, 30)
    assert provider.last_update(USER) == NOW + 5
    provider.set_usage(60, sender=USER)
    assert (provider.get_usage(USER), provider.get_bill(USER)) == (60, 30)


@pytest.mark.parametrize("method", ["set_usage", "set_bill"])
@pytest.mark.parametrize("sender", [OTHER, PROVIDER])
def test_who_is_not_active_sets_nothing(provider, method, sender):
    with pytest.raises(NotActive) as caught:
        getattr(provider, method)(1, sender=sender)
    assert caught.value == NotActive(sender)


@pytest.mark.parametrize("sender", [USER, PROVIDER])
def test_debt_is_set_by_provider_or_user_with_one_event(provider, sender):
    assert provider.set_debt(7, 8, USER, sender=sender).events == [DebtSet(USER, 7, 8)]
    assert (provider.get_usage(USER), provider.get_bill(USER)) == (7, 8)
    assert provider.last_update(USER) == NOW


def test_debt_is_not_set_by_others(provider):
    with pytest.raises(NotProvider) as stranger:
        provider.set_debt(7, 8, USER, sender=OTHER)
    assert stranger.value == NotProvider(OTHER)
    with pytest.raises(NotActive) as inactive:
        provider.set_debt(7, 8, OTHER, sender=OTHER)
    assert inactive.value == NotActive(OTHER)


def test_a_removed_user_keeps_its_values_and_can_no_longer_change_them(provider):
    provider.set_debt(7, 8, USER, sender=USER)
    provider.remove_user(USER, sender=PROVIDER)
    assert (provider.get_usage(USER), provider.get_bill(USER)) == (7, 8)
    for call in (
        lambda: provider.set_usage(1, sender=USER),
        lambda: provider.set_bill(1, sender=USER),
        lambda: provider.set_debt(1, 1, USER, sender=USER),
    ):
        with pytest.raises(NotActive):
            call()
    provider.set_debt(9, 10, USER, sender=PROVIDER)
    assert provider.get_usage(USER) == 9


def test_a_day_turns_at_midnight_in_india(provider, chain):
    midnight = int(datetime(2024, 2, 29, tzinfo=INDIA).timestamp())
    today = day_in_india(midnight)
    chain.timestamp = midnight - 1
    provider.set_usage(10, sender=USER)
    chain.timestamp = midnight
    provider.set_usage(25, sender=USER)
    assert provider.daily_usage(USER, today - 1) == 10
    assert provider.daily_usage(USER, today) == 15


def test_only_increases_count_for_the_day(provider):
    today = day_in_india(NOW)
    for usage in (10, 9, 9, 14, 0):
        provider.set_usage(usage, sender=USER)
    provider.set_bill(99, sender=USER)
    assert provider.daily_usage(USER, today) == 15
    assert provider.daily_usage(OTHER, today) == 0


def test_a_user_whose_day_fits_no_word_stops_nobody(provider):
    largest = 2**256 - 1
    provider.set_usage(largest - 1, sender=USER)
    provider.set_usage(0, sender=USER)
    provider.set_debt(7, 8, USER, sender=PROVIDER)
    assert (provider.get_usage(USER), provider.get_bill(USER)) == (7, 8)
    assert provider.daily_usage(USER, day_in_india(NOW)) == largest


class Model:
    """The contract as a Python programmer would write it in a hurry."""

    def __init__(self):
        self.active, self.usage, self.bill, self.updated, self.daily = set(), {}, {}, {}, {}

    def set(self, user, now, usage=None, bill=None):
        if usage is not None:
            key = (user, day_in_india(now))
            self.daily[key] = self.daily.get(key, 0) + max(0, usage - self.usage.get(user, 0))
            self.usage[user] = usage
        if bill is not None:
            self.bill[user] = bill
        self.updated[user] = now


ACCOUNTS = st.sampled_from([PROVIDER, USER, OTHER])
AMOUNTS = st.integers(0, 500)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add_user", "remove_user", "set_usage", "set_bill", "set_debt"]),
        ACCOUNTS,
        ACCOUNTS,
        AMOUNTS,
        AMOUNTS,
        st.integers(0, 40_000),
    ),
    max_size=25,
)


def expected_error(model, step, sender, user):
    if step in ("add_user", "remove_user"):
        return None if sender == PROVIDER else NotProvider(sender)
    if step == "set_debt":
        if sender == PROVIDER:
            return None
        if sender != user:
            return NotProvider(sender)
    return None if sender in model.active else NotActive(sender)


def apply(model, step, sender, user, usage, bill, now):
    if step == "add_user":
        model.active.add(user)
    elif step == "remove_user":
        model.active.discard(user)
    elif step == "set_usage":
        model.set(sender, now, usage=usage)
    elif step == "set_bill":
        model.set(sender, now, bill=bill)
    else:
        model.set(user, now, usage=usage, bill=bill)


@settings(max_examples=40)
@given(STEPS)
def test_any_run_equals_the_model(steps):
    chain = Chain(timestamp=NOW)
    contract = chain.deploy(Provider, "", "", sender=PROVIDER)
    model = Model()
    for step, sender, user, usage, bill, seconds in steps:
        chain.timestamp += seconds
        arguments = {"set_usage": (usage,), "set_bill": (bill,), "set_debt": (usage, bill, user)}
        error = expected_error(model, step, sender, user)
        if error is None:
            getattr(contract, step)(*arguments.get(step, (user,)), sender=sender)
            apply(model, step, sender, user, usage, bill, chain.timestamp)
        else:
            with pytest.raises(type(error)) as caught:
                getattr(contract, step)(*arguments.get(step, (user,)), sender=sender)
            assert caught.value == error
    for user in (PROVIDER, USER, OTHER):
        assert contract.is_active(user) == (user in model.active)
        assert contract.get_usage(user) == model.usage.get(user, 0)
        assert contract.get_bill(user) == model.bill.get(user, 0)
        assert contract.last_update(user) == model.updated.get(user, 0)
        for day in range(day_in_india(NOW), day_in_india(chain.timestamp) + 1):
            assert contract.daily_usage(user, day) == model.daily.get((user, day), 0)


PUBLISHED = """
constructor(string providerName, string description)
view providerName() string
view description() string
view owner() address
view isActive(address user) bool
view lastUpdate(address user) uint256
view getUsage(address user) uint256
view getBill(address user) uint256
view dailyUsage(address user, uint32 day) uint256
write addUser(address user)
write removeUser(address user)
write setUsage(uint256 usage)
write setBill(uint256 bill)
write setDebt(uint256 usage, uint256 bill, address user)
event UserAdded(address indexed user)
event UserRemoved(address indexed user)
event UsageSet(address indexed user, uint256 usage)
event BillSet(address indexed user, uint256 bill)
event DebtSet(address indexed user, uint256 usage, uint256 bill)
error NotActive(address user)
error NotProvider(address caller)
"""


def describe(entry):
    """One line of the JSON ABI, as the published interface is written above."""
    fields = ", ".join(
        f"{item['type']}{' indexed' if item.get('indexed') else ''} {item['name']}"
        for item in entry["inputs"]
    )
    if entry["type"] == "constructor":
        return f"constructor({fields})"
    kind = entry["type"]
    if kind == "function":
        kind = "view" if entry["stateMutability"] == "view" else "write"
    outputs = "".join(" " + item["type"] for item in entry.get("outputs", []))
    return f"{kind} {entry['name']}({fields}){outputs}"


def test_the_interface_is_the_published_one():
    artifact = build_artifact(read_contract("el_dapp"))
    assert artifact["contractName"] == "Provider"
    assert sorted(map(describe, artifact["abi"])) == sorted(PUBLISHED.strip().splitlines())
