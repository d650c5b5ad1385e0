"""What a call will read, guessed from what the last one like it read, and sent along with it.

Each question of the worker costs two switches between processes, far more than a word that is sent
in vain. A guess changes nothing but the time a call takes.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from ledger.contract.execution import Message
from ledger.types import Address, Slot

HABITS_MAX = 4_096
"""Senders and methods remembered; an entry has about 1 kB."""
WORDS_MAX = 24
"""Of one habit; where more gathers, what is read differs from call to call and it begins anew."""
ACCOUNTS_MAX = 4


@dataclass(slots=True)
class Habit:
    """The accounts and storage words that one kind of call read, and will probably read again."""

    accounts: list[Address]
    words: list[tuple[Address, Slot]] = field(default_factory=list)

    def note_word(self, address: Address, slot: Slot) -> None:
        """Read although it was not guessed."""
        if len(self.words) >= WORDS_MAX:
            self.words.clear()
        self.words.append((address, slot))

    def note_account(self, address: Address) -> None:
        if len(self.accounts) < ACCOUNTS_MAX:
            self.accounts.append(address)


class Habits:
    """The habits of the senders and methods seen last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Address, Address, bytes], Habit] = OrderedDict()

    def find(self, message: Message) -> Habit:
        """That of the sender, contract and method; of a new one, the contract alone."""
        key = message.sender, message.to, message.data[:4]
        habit = self._kept.get(key)
        if habit is None:
            if len(self._kept) >= HABITS_MAX:
                self._kept.popitem(last=False)
            habit = self._kept[key] = Habit([message.to])
        else:
            self._kept.move_to_end(key)
        return habit
