"""A bill from storage alone, as a light client makes it from proved words: no view is called.

Slots are those that the contract's docstring promises: Solidity's, for its fields in order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from ledger.crypto.keccak import keccak256
from tests.contracts_py.metering_model import Tariff, Terms, round_half_up

METERS_OF, READINGS, CORRECTIONS, TARIFFS, MONTHS, TERMS = 3, 4, 5, 7, 8, 10


@dataclass
class Held:
    """What holds for a meter's period so far."""

    before: int
    import_wh: int
    tariff: int
    start: datetime


class LightBill:
    def __init__(self, read_word: Callable[[int], int]) -> None:
        self.read_word = read_word

    def find(self, slot: int, *keys: bytes | int) -> int:
        """Where the value of nested mappings stands."""
        for key in keys:
            encoded = key.rjust(32, b"\0") if isinstance(key, bytes) else key.to_bytes(32, "big")
            slot = int.from_bytes(keccak256(encoded + slot.to_bytes(32, "big")), "big")
        return slot

    def elements(self, slot: int, words: int) -> list[list[int]]:
        """The elements of the dynamic array at a slot, each of so many words."""
        first = int.from_bytes(keccak256(slot.to_bytes(32, "big")), "big")
        count = self.read_word(slot)
        return [
            [self.read_word((first + words * index + word) % 2**256) for word in range(words)]
            for index in range(count)
        ]

    def read_terms(self, number: int) -> Terms:
        slot = self.find(TERMS, number)
        word, rates = self.read_word(slot), self.read_word(slot + 1)
        digits = f"{bits(word, 10, 9):024o}"[::-1] + f"{bits(word, 19, 9):024o}"[::-1]
        return Terms(
            bits(word, 0, 4), bits(word, 4, 2), bits(word, 6, 4),
            tuple(map(int, digits)), tuple(bits(rates, 4 * place, 4) for place in range(8)),
        )  # fmt: skip

    def bill(
        self, account: bytes, periods: Iterable[int], start_of: Callable[[int], datetime]
    ) -> int:
        """Minor units of energy for the account's readings of these periods, all of one month."""
        tariffs = [read_tariff(*words) for words in self.elements(TARIFFS, 2)]
        for number, tariff in enumerate(tariffs, 1):
            tariff.terms = self.read_terms(number)
        steps: list[tuple[int, Held, tuple[int, int] | None]] = []
        for (meter_word,) in self.elements(self.find(METERS_OF, account), 1):
            meter = meter_word.to_bytes(20, "big")
            for period in periods:
                word = self.read_word(self.find(READINGS, meter, period))
                if bits(word, 20, 3) == 0:
                    continue
                start = start_of(period)
                held = Held(bits(word, 23, 9), bits(word, 0, 8), bits(word, 18, 2), start)
                steps.append((bits(word, 20, 3), held, None))
                for low, _ in self.elements(self.find(CORRECTIONS, meter, period), 2):
                    steps.append((bits(low, 19, 3), held, (bits(low, 0, 8), bits(low, 17, 2))))
        return round_half_up(replay(tariffs, sorted(steps, key=lambda step: step[0])))


def replay(tariffs: list[Tariff], steps: list[tuple[int, Held, tuple[int, int] | None]]) -> int:
    total = charge = 0
    for position, (order, held, correction) in enumerate(steps, 1):
        assert order == position, "a record or correction of the month is missing"
        if correction is None:
            assert held.before == total
            charge += price(tariffs, held, total)
            total += held.import_wh
            continue
        rest = total - held.import_wh
        change = -price_again(tariffs, held, rest)
        held.import_wh, held.tariff = correction
        change += price_again(tariffs, held, rest)
        charge += max(change, -charge)
        total = rest + held.import_wh
    return charge


def price(tariffs: list[Tariff], held: Held, before: int) -> int:
    if held.tariff == 0:
        return 0
    return tariffs[held.tariff - 1].price_at(held.start, before, held.import_wh)


def price_again(tariffs: list[Tariff], held: Held, rest: int) -> int:
    telescopic = held.tariff > 0 and tariffs[held.tariff - 1].telescopic
    return price(tariffs, held, rest if telescopic else held.before)


def read_tariff(head: int, rates: int) -> Tariff:
    bounds = [bits(head, 4 + 4 * index, 4) for index in range(7)]
    bounds = bounds[: [*bounds, 0].index(0)]
    slabs = [bits(rates, 4 * index, 4) for index in range(len(bounds) + 1)]
    return Tariff(bits(head, 0, 3), bool(bits(head, 3, 1)), bounds, slabs)


def bits(word: int, offset: int, size: int) -> int:
    """`size` bytes of a word, `offset` bytes from the right."""
    return word >> 8 * offset & ((1 << 8 * size) - 1)
