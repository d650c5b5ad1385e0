"""Where nodes answer: as the network file says, and where they were seen since.

A router hands out new addresses and the file stays as it was. So a node that connects to us is
remembered at the host it came from, peers tell each other what they know, and on a local network
nodes announce themselves (`discovery`). None of it is believed: whoever answers proves its key, and
only nodes that are allowed are dialled. Where a node did prove it is kept over a restart, the last
such place of each. Not here: dialling (`network`).
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from ledger.encoding.packed import pack, unpack
from ledger.types import Address

PLACES_MAX = 3
"""Remembered of a node beside the file's: the newest."""
NODES_MAX = 1_000
"""As many as connections can be configured."""

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the network file says that a node is reached."""

    name: str
    address: Address
    host: str
    port: int


class AddressBook:
    """Host and port of each node, newest knowledge last."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._named = {one.address: one for one in endpoints}
        self._learned: OrderedDict[Address, list[Place]] = OrderedDict()
        self._proved: OrderedDict[Address, Place] = OrderedDict()
        self.changed = False
        """Whether `dump` has something new to keep."""

    def note(self, address: Address, host: str, port: int) -> bool:
        """Remember where a node was seen; whether that is new."""
        place = (host, port)
        named = self._named.get(address)
        places = self._learned.get(address, [])
        if place in places or (named is not None and (named.host, named.port) == place):
            return False
        self._learned[address] = [*places, place][-PLACES_MAX:]
        self._learned.move_to_end(address)
        if len(self._learned) > NODES_MAX:
            self._learned.popitem(last=False)
        return True

    def note_inbound(self, address: Address, host: str) -> bool:
        """A node came from a host: its port is the one that the file names. Whether it is new."""
        named = self._named.get(address)
        if named is None or _is_same(named.host, host):
            return False
        self.note_proved(address, host, named.port)
        return self.note(address, host, named.port)

    def note_proved(self, address: Address, host: str, port: int) -> None:
        """Here a node has proved its key: to be tried again after a restart."""
        place, named = (host, port), self._named.get(address)
        if named is not None and (named.host, named.port) == place:
            self.changed |= self._proved.pop(address, None) is not None
        elif self._proved.get(address) != place:
            self._proved.pop(address, None)
            self._proved[address] = place
            self.changed = True
            if len(self._proved) > NODES_MAX:
                self._proved.popitem(last=False)

    def dump(self) -> bytes:
        """What is to be kept: some 60 bytes for each node that moved or is not in the file."""
        self.changed = False
        return pack([(address, *place) for address, place in self._proved.items()])

    def load(self, raw: bytes) -> list[tuple[Address, str, int]]:
        """What was kept: node, host, port. Raises EncodingError."""
        kept = [(address, host, port) for address, host, port in unpack(raw, "list of addresses")]
        self._proved.update((address, (host, port)) for address, host, port in kept)
        return kept

    def find(self, address: Address) -> list[Place]:
        """Where to try, the file's first, then the newest."""
        named = self._named.get(address)
        listed = [] if named is None else [(named.host, named.port)]
        return listed + self._learned.get(address, [])[::-1]

    def name_of(self, address: Address) -> str:
        named = self._named.get(address)
        return named.name if named else ""

    def tell(self, to: str) -> list[list[Address | str | int]]:
        """All that a peer on the host `to` may find useful: (address, host, port). What answers on
        this machine alone is told to nobody elsewhere."""
        return [
            [address, host, port]
            for address in self._named.keys() | self._learned.keys()
            for host, port in self.find(address)[-2:]
            if not is_loopback(host) or is_loopback(to)
        ]


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name


def _is_same(host: str, seen: str) -> bool:
    """Whether a host of the file is the one seen; a name may be any, and is looked up anyway."""
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(seen)
    except ValueError:
        return is_loopback(host) == is_loopback(seen) and host == "localhost"
