"""Storage by the names of its fields, of every shape, and as a model writes it."""

from pathlib import Path

import pytest

from ledger.contract.testing import Chain, ContractPanic, make_account
from ledger.contract.testing.chain import MemoryState, load_module
from ledger.contract.testing.storage_view import write_model

PATH = Path(__file__).parent / "kit" / "order_book.py"
ALICE = make_account("alice")


@pytest.fixture
def book():
    deployed = Chain().deploy(PATH, sender="owner")
    names = deployed._names
    price = names["Price"]
    prices = [price(5, "dear"), price(3, "")]
    deployed.add(prices, [1, 2, 3], names["State"].FILLED, sender=ALICE)
    return deployed


def test_what_is_read_is_what_the_author_writes(book):
    storage = book.storage
    price, filled = book._names["Price"], book._names["State"].FILLED
    order = make_order(book)
    assert storage._orders[0] == storage._last == order
    assert storage._state is filled
    assert list(storage._hours) == [0, 2, 0] and storage._hours[1] == 2
    assert list(storage._deep[ALICE][filled][3, True]) == [11]
    assert [list(row) for row in storage._grid] == [[5]]
    assert storage._maybe[7] == price(5, "dear")
    assert 7 in storage._maybe and 8 not in storage._maybe
    with pytest.raises(ContractPanic):
        storage._maybe[8]
    with pytest.raises(ContractPanic):
        storage._orders[1]
    assert dir(storage) == sorted(
        ["_state", "_hours", "_orders", "_deep", "_grid", "_maybe", "_last"]
    )


def test_a_model_of_every_shape_makes_the_very_same_words(book):
    price, filled = book._names["Price"], book._names["State"].FILLED
    order = make_order(book)
    model = {
        "_state": filled,
        "_hours": [0, 2, 0],
        "_orders": [order],
        "_deep": {ALICE: {filled: {(3, True): [11]}}},
        "_grid": [[5]],
        "_maybe": {7: price(5, "dear"), 8: None},
        "_last": order,
    }
    assert words_of(book, model) == book._chain.state.list_words(book.address)
    for name, other in (("_hours", [0, 2, 1]), ("_grid", [[5], []]), ("_maybe", {})):
        changed = words_of(book, model | {name: other})
        assert changed != book._chain.state.list_words(book.address), name


def make_order(book):
    price, filled = book._names["Price"], book._names["State"].FILLED
    prices = [price(5, "dear"), price(3, "")]
    return book._names["Order"](ALICE, filled, prices, [1, 2, 3], price(5, "dear"))


def words_of(book, model):
    state = MemoryState()
    write_model(state, book.address, book._program, model)
    return state.list_words(book.address)


def test_the_authors_module_is_plain_python():
    assert load_module(PATH).State.FILLED == 1
