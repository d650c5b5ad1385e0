"""The pool, pain by pain (FIELD_NOTES.md section 1, 10 to 14), then its order."""

from itertools import islice

import pytest

from ledger.errors import (
    AlreadyKnown,
    FeeTooLow,
    GasLimitExceeded,
    InsufficientFunds,
    IntrinsicGasTooLow,
    InvalidSignature,
    NonceTooHigh,
    NonceTooLow,
    ReplacementUnderpriced,
    WrongChainId,
)
from ledger.pool import Pool
from ledger.transaction import decode_transaction, sign_transaction
from tests.pool.world import CHAIN_ID, GAS_LIMIT, RICH, World, make, nonces_of

# The pains.


def test_pain_10_a_gap_waits_then_flows_in_order():
    world = World()
    for nonce in (2, 1, 4, 3):
        world.add(make(1, nonce))
    assert world.pending() == []
    assert world.pool.next_nonce(make(1, 0).sender, 0) == 0

    world.add(make(1, 0))

    assert nonces_of(world.pending()) == [0, 1, 2, 3, 4]
    assert world.pool.next_nonce(make(1, 0).sender, 0) == 5


def test_pain_10_a_gap_closed_by_a_block_flows_too():
    """The missing transaction reached the chain through another node."""
    world = World()
    world.add(make(1, 1))
    world.add(make(1, 2))

    world.include([make(1, 0)])

    assert nonces_of(world.pending()) == [1, 2]


def test_pain_10_what_waits_behind_a_gap_can_be_asked_for():
    world = World()
    first, third = world.add(make(1, 0)), world.add(make(1, 2))

    executable, gapped = world.pool.content()

    assert executable == {first.sender: [first]}
    assert gapped == {first.sender: [third]}


def test_pain_11_a_burst_from_one_account_is_taken_whole():
    world = World()
    for nonce in range(1_000):
        world.add(make(1, nonce))

    assert nonces_of(world.pending()) == list(range(1_000))


def test_pain_11_a_stuck_transaction_that_pays_nothing_is_replaced_for_one_wei():
    world = World()
    stuck = world.add(make(1, 0, price=0))
    world.add(make(1, 1))

    better = world.add(make(1, 0, price=1))

    assert world.pool.get(stuck.hash) is None
    assert world.pending()[0] == better
    assert nonces_of(world.pending()) == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "taken"),
    [(0, 0, False), (0, 1, True), (5, 5, False), (5, 6, True), (100, 109, False), (100, 110, True)],
)
def test_pain_11_the_price_of_a_replacement(old, new, taken):
    world = World()
    first = world.add(make(1, 0, price=old, data=b"old"))
    second = make(1, 0, price=new, data=b"new")

    if taken:
        world.add(second)
        assert world.pending() == [second]
    else:
        with pytest.raises(ReplacementUnderpriced, match="replacement transaction underpriced"):
            world.add(second)
        assert world.pending() == [first]


def test_pain_11_both_fees_of_a_replacement_must_rise():
    world = World()
    world.add(make(1, 0, max_fee=100, max_priority_fee=10))

    with pytest.raises(ReplacementUnderpriced):
        world.add(make(1, 0, max_fee=200, max_priority_fee=10))
    with pytest.raises(ReplacementUnderpriced):
        world.add(make(1, 0, max_fee=100, max_priority_fee=20))
    world.add(make(1, 0, max_fee=110, max_priority_fee=11))


def test_pain_12_an_invalid_one_does_not_hold_up_the_others():
    world = World()
    bad, after = world.add(make(1, 0)), world.add(make(1, 1))
    good = world.add(make(2, 0))

    world.pool.drop_invalid(bad)
    world.pool.drop_invalid(bad)

    assert world.pending() == [good]
    again = world.add(make(1, 0, data=b"again"))
    assert world.pending() == [good, again, after]


def test_pain_13_what_was_never_included_is_still_there_for_peers():
    world = World()
    made = [world.add(make(account, 0)) for account in range(5)]

    assert world.pool.hashes() == [transaction.hash for transaction in made]
    assert all(world.pool.get(transaction.hash) is transaction for transaction in made)


def test_what_a_reorganisation_withdraws_waits_again_before_what_waited():
    world = World()
    withdrawn = [world.add(make(1, nonce)) for nonce in range(3)]
    world.include(withdrawn)
    waiting = world.add(make(1, 3))
    world.nonces[withdrawn[0].sender] = 1  # the new branch has included the first

    world.pool.take_back(withdrawn, world.nonce, lambda account: RICH)

    assert world.pending() == [*withdrawn[1:], waiting]
    world.include(world.pending())
    assert world.pool.size == 0


def test_what_was_replaced_while_it_was_included_stays_replaced():
    world = World()
    old = world.add(make(1, 0))
    world.include([old])
    world.nonces[old.sender] = 0
    world.pool.take_back([], world.nonce, lambda account: RICH)
    world.pool.take_back([old], world.nonce, lambda account: RICH)
    new = world.add(make(1, 0, price=5))
    world.pool.take_back([old], world.nonce, lambda account: RICH)
    assert world.pending() == [new]


# What is refused, in geth's words.


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"chain_id": 1}, WrongChainId, "invalid chain id"),
        ({"gas": GAS_LIMIT + 1}, GasLimitExceeded, "exceeds block gas limit"),
        ({"gas": 20_999}, IntrinsicGasTooLow, "intrinsic gas too low"),
        ({"nonce": 4}, NonceTooLow, "nonce too low"),
        ({"nonce": 5 + 1_025}, NonceTooHigh, "nonce too high"),
        ({"value": 10**31}, InsufficientFunds, "insufficient funds for gas \\* price \\+ value"),
        ({"price": 10**26}, InsufficientFunds, "insufficient funds"),
    ],
)
def test_what_cannot_run_is_refused_in_geths_words(changes, error, text):
    world = World()
    world.nonces[make(1, 0).sender] = 5

    with pytest.raises(error, match=text):
        world.add(make(1, **({"nonce": 5} | changes)))
    assert world.pool.size == 0


def test_a_fee_below_the_base_fee_is_refused():
    pool = Pool(CHAIN_ID, GAS_LIMIT, base_fee=10)

    with pytest.raises(FeeTooLow, match="max fee per gas less than block base fee"):
        pool.add(make(1, 0, max_fee=9, max_priority_fee=9), 0, RICH)


def test_the_same_transaction_twice_is_known():
    world = World()
    world.add(make(1, 0))

    with pytest.raises(AlreadyKnown, match="already known"):
        world.add(make(1, 0))


def test_a_signature_of_nobody_is_refused():
    signed = sign_transaction(
        b"\1" * 32, chain_id=CHAIN_ID, nonce=0, max_fee=0, gas=21_000, to=b"\1" * 20
    )
    broken = decode_transaction(signed.raw[:-32] + b"\xff" * 32)

    with pytest.raises(InvalidSignature):
        Pool(CHAIN_ID, GAS_LIMIT).add(broken, 0, RICH)


# The order.


def test_a_better_price_goes_first_and_nonces_stay_in_order():
    world = World()
    for account, nonce, price in [(1, 0, 1), (1, 1, 50), (2, 0, 9), (3, 0, 5), (3, 1, 7)]:
        world.add(make(account, nonce, price=price))

    order = [(tx.sender[-1], tx.nonce) for tx in world.pending()]

    assert order == [(2, 0), (3, 0), (3, 1), (1, 0), (1, 1)]


def test_senders_at_one_price_take_turns():
    world = World()
    for nonce in range(3):
        world.add(make(1, nonce))
    world.add(make(2, 0))
    world.add(make(3, 0))
    world.add(make(2, 1))

    order = [(tx.sender[-1], tx.nonce) for tx in world.pending()]

    assert order == [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]


def test_who_was_served_waits_behind_those_at_its_price_who_were_not():
    world = World()
    for nonce in range(3):
        world.add(make(1, nonce))
    for account, nonce, price in [(2, 0, 0), (3, 0, 0), (4, 0, 5), (4, 1, 0)]:
        world.add(make(account, nonce, price=price))

    world.include(world.pending(2))
    world.add(make(5, 0))

    order = [(tx.sender[-1], tx.nonce) for tx in world.pending()]
    assert order == [(2, 0), (3, 0), (4, 1), (1, 1), (5, 0), (1, 2)]


def test_a_price_above_the_fee_counts_as_what_the_proposer_gets():
    pool = Pool(CHAIN_ID, GAS_LIMIT, base_fee=10)
    capped = make(1, 0, max_fee=12, max_priority_fee=50)
    plain = make(2, 0, max_fee=100, max_priority_fee=5)
    pool.add(capped, 0, RICH)
    pool.add(plain, 0, RICH)

    assert list(pool.pending(10, lambda _: 0)) == [plain, capped]
    assert list(pool.pending(20, lambda _: 0)) == [plain]


def test_reading_what_is_next_costs_what_is_taken_not_what_waits():
    world = World()
    for account in range(2_000):
        world.add(make(account, 0, price=account))
    asked: list[bytes] = []

    def state_nonce(sender: bytes) -> int:
        asked.append(sender)
        return 0

    taken = list(islice(world.pool.pending(0, state_nonce), 10))

    assert [tx.max_fee for tx in taken] == list(range(1_999, 1_989, -1))
    assert len(asked) <= 12


def test_the_pool_may_change_while_it_is_read():
    world = World()
    for account in range(10):
        for nonce in range(2):
            world.add(make(account, nonce))
    reading = world.pool.pending(0, world.nonce)
    first = next(reading)

    world.add(make(99, 0, price=5))
    world.include([first])
    rest = list(reading)

    assert len(rest) >= 17


def test_whether_anything_would_be_included():
    world = World()
    assert not world.pool.has_pending(0, world.nonce)
    world.add(make(1, 1))
    assert not world.pool.has_pending(0, world.nonce)
    world.add(make(1, 0))
    assert world.pool.has_pending(0, world.nonce)
    world.include([make(1, 0), make(1, 1)])
    assert not world.pool.has_pending(0, world.nonce)
    assert world.pool.size == 0
