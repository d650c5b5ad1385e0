"""One key on two machines: what an operator does who copies a card and starts both.

Each runs an honest node with a disk of its own and believes to be the only one. Neither counts as
honest, for the two sign for one another. Only the first stands in the network file; the second
dials, and every node keeps the newer of two connections.
"""

from tests.simulator.realm import Machine


class Twin(Machine):
    honest = False

    @staticmethod
    def pair(first: Machine, second: Machine) -> None:
        """Give the second the key of the first."""
        realm = first.realm
        del realm.by_address[second.address]
        realm.endpoints = tuple(one for one in realm.endpoints if one.address != second.address)
        second.address, second.key = first.address, first.key
