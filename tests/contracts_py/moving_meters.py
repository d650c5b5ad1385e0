"""A metering contract that moves its meters between accounts, as the standard one never does."""

from ledger.contract import Contract, Map, address, uint8, uint32, uint64, view, write


class MovingMeters(Contract):
    """Anybody says whose a meter is; each exports 1,000 Wh in every period."""

    _accounts: Map[address, address]

    @write
    def move(self, meter: address, account: address) -> None:
        self._accounts[meter] = account

    @view
    def period_seconds(self) -> uint32:
        return 3600

    @view
    def account_of(self, meter: address) -> address:
        return self._accounts[meter]

    @view
    def reading(self, meter: address, period: uint32) -> tuple[uint64, uint64, uint8, bool, uint32]:
        return 0, 1000, 0, True, 0
