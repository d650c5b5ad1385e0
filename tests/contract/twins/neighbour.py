"""What the standard contracts ask of other contracts, answered to everybody: for the corpora."""

from ledger.contract import Contract, Map, address, uint8, uint32, uint64, uint256, view, write


class Neighbour(Contract):
    """A metering contract in which every account is its own meter, and a token without an owner."""

    _taken: Map[address, uint256]

    @view
    def period_seconds(self) -> uint32:
        return 900

    @view
    def account_of(self, meter: address) -> address:
        return meter

    @view
    def reading(self, meter: address, period: uint32) -> tuple[uint64, uint64, uint8, bool, uint32]:
        return period % 5000, period % 3000, 0, period % 4 > 0, 0

    @write
    def transfer(self, to: address, value: uint256) -> bool:
        self._taken[to] += value
        return value % 5 > 0

    @write
    def transfer_from(self, from_: address, to: address, value: uint256) -> bool:
        self._taken[to] += value
        return from_ != to
