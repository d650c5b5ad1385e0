"""Bills from registers: gateways submit what meters show, rules on chain judge it, deposits pay.

After the published billing systems in which a gateway sends readings on behalf of meters that
cannot sign. A gateway is trusted to pass on, not to judge: what is wrong with a reading is decided
here, by rules that everybody can read, in this order (`Verdict`): the meter is enrolled, the time
lies in the window around the block's time, after the last reading's and in a month that is not
frozen, the register lies in its range and not below the last reading, and the rise since then is
no more than the meter's greatest power allows. A valid reading is billed at once. An invalid one
changes no bill, but it is kept with its reason, and the account is told by an event; it is never
reverted away, since then nobody would know that it came. A call by who is no gateway is.

**Money.** A month's amount is the sum of watt-hours times the rate at their time, divided by 1,000
with half up, once for the month: each reading charges what that sum rises by, so that no fraction
is lost or paid twice. What is charged is taken from the deposit; what the deposit does not cover is
arrears, which the next deposit pays first. Above `arrears_limit` the account is disconnected, and
reconnected when nothing is owed: both are events, which a relay follows.

What the published rules left open, and what was chosen: a reading's energy belongs to the month of
its time, in the network's own time; a month is frozen when no reading for it can be valid any more,
and never before; energy whose reading was refused is in the register still, so the next valid one
bills it; a meter's first register value is given when it is enrolled, and bills nothing; a new rate
holds for readings submitted after it.

Energy is in watt-hours, power in watts, money in wei, times in Unix seconds; rates are wei a kWh.
"""

from ledger.contract import (
    ROUND_HALF_UP,
    ZERO_ADDRESS,
    Array,
    Contract,
    Enum,
    Event,
    Map,
    Revert,
    Role,
    Struct,
    abi_encode,
    address,
    bytes32,
    indexed,
    int32,
    keccak256,
    mul_div,
    payable,
    uint32,
    uint64,
    uint128,
    uint256,
    view,
    write,
)

DAY_S = 86_400
HOUR_S = 3_600
WH_PER_KWH = 1_000
OFFSET_MAX_S = 64_800
WINDOW_MAX_S = 31_622_400


class Verdict(Enum):
    VALID = 0
    UNKNOWN_METER = 1
    TOO_OLD = 2
    IN_FUTURE = 3
    NOT_NEWER = 4
    MONTH_FROZEN = 5
    OUT_OF_RANGE = 6
    REGISTER_FELL = 7
    TOO_FAST = 8


class Rules(Struct):
    """What a valid reading is: one word. `power_max_w` is for meters without one of their own."""

    register_max_wh: uint64
    power_max_w: uint32
    past_s: uint32
    future_s: uint32


class Meter(Struct):
    """Two words; the last valid reading. A greatest power of 0 is the rules' own."""

    account: address
    power_max_w: uint32
    register_wh: uint64
    time: uint64


class Rejected(Struct):
    register_wh: uint64
    time: uint64
    verdict: Verdict
    gateway: address


class Account(Struct):
    """What lies there for bills to come, and what past ones still lack."""

    deposit: uint128
    arrears: uint128
    disconnected: bool


class Bill(Struct):
    """A month of an account. `priced` is watt-hours times rates; `digest` chains its readings."""

    energy_wh: uint64
    priced: uint128
    readings: uint32
    frozen: bool
    digest: bytes32


class GatewaySet(Event):
    gateway: indexed[address]
    granted: bool


class RulesSet(Event):
    rules: Rules


class RateSet(Event):
    rate: uint64


class Enrolled(Event):
    meter: indexed[address]
    account: indexed[address]
    register_wh: uint64
    time: uint64


class Billed(Event):
    account: indexed[address]
    meter: indexed[address]
    month: uint32
    energy_wh: uint64
    charged: uint256


class ReadingRejected(Event):
    account: indexed[address]
    meter: indexed[address]
    register_wh: uint64
    time: uint64
    verdict: Verdict


class Deposited(Event):
    account: indexed[address]
    amount: uint256
    deposit: uint128
    arrears: uint128


class Withdrawn(Event):
    account: indexed[address]
    amount: uint256


class Disconnected(Event):
    account: indexed[address]
    arrears: uint128


class Reconnected(Event):
    account: indexed[address]


class Frozen(Event):
    account: indexed[address]
    month: indexed[uint32]
    amount: uint256
    energy_wh: uint64
    bill_hash: bytes32


class InvalidSetting(Revert):
    """An offset above 18 hours, a window above 366 days, or a greatest value of 0."""


class InvalidLengths(Revert):
    """Lists of one call have one length."""


class ZeroAddress(Revert):
    """Nobody has the zero address."""


class AlreadyEnrolled(Revert):
    meter: address
    account: address


class TooEarly(Revert):
    """Readings of this month can still be valid."""

    month: uint32
    until: uint64


class AlreadyFrozen(Revert):
    account: address
    month: uint32


class NotEnough(Revert):
    amount: uint256
    available: uint256


class Billing(Contract):
    """Registers in, bills out."""

    operators = Role()
    gateways = Role()
    _rules: Rules
    _rate: uint64
    _arrears_limit: uint128
    _utc_offset_seconds: int32
    _earned: uint256
    _meters: Map[address, Meter]
    _accounts: Map[address, Account]
    _bills: Map[tuple[address, uint32], Bill]
    _rejected: Map[address, Array[Rejected]]

    def __init__(
        self, rules: Rules, rate: uint64, arrears_limit: uint128, utc_offset_seconds: int32
    ) -> None:
        """The deployer is the first operator. A limit of 0 is prepaid: used up is cut off."""
        if abs(utc_offset_seconds) > OFFSET_MAX_S:
            raise InvalidSetting()
        self._set_rules(rules)
        self._rate = rate
        self._arrears_limit = arrears_limit
        self._utc_offset_seconds = utc_offset_seconds
        self.operators.grant(self.msg.sender)

    # The operator.

    @write(by=operators)
    def set_gateway(self, gateway: address, granted: bool) -> None:
        if granted:
            self.gateways.grant(gateway)
        else:
            self.gateways.revoke(gateway)
        self.emit(GatewaySet(gateway, granted))

    @write(by=operators)
    def set_rules(self, rules: Rules) -> None:
        self._set_rules(rules)

    @write(by=operators)
    def set_rate(self, rate: uint64) -> None:
        """For readings submitted from now on."""
        self._rate = rate
        self.emit(RateSet(rate))

    @write(by=operators)
    def enrol(
        self, meter: address, account: address, register_wh: uint64, power_max_w: uint32
    ) -> None:
        """A meter and what it shows now; its greatest power, or 0 for that of the rules."""
        if meter == ZERO_ADDRESS or account == ZERO_ADDRESS:
            raise ZeroAddress()
        enrolled = self._meters[meter].account
        if enrolled != ZERO_ADDRESS:
            raise AlreadyEnrolled(meter, enrolled)
        now: uint64 = self.block.timestamp
        self._meters[meter] = Meter(account, power_max_w, register_wh, now)
        self.emit(Enrolled(meter, account, register_wh, now))

    @write(by=operators)
    def withdraw_earned(self, amount: uint256) -> None:
        """What bills have brought in so far."""
        if amount > self._earned:
            raise NotEnough(amount, self._earned)
        self._earned -= amount
        self.emit(Withdrawn(self.msg.sender, amount))
        self.send(self.msg.sender, amount)

    # Gateways.

    @write(by=gateways)
    def submit(self, meter: address, register_wh: uint64, time: uint64) -> None:
        """What a meter showed at a time: billed if it is valid, kept with the reason if not."""
        self._submit(meter, register_wh, time)

    @write(by=gateways)
    def submit_many(
        self, meters: list[address], registers_wh: list[uint64], times: list[uint64]
    ) -> None:
        """Each judged for itself, in the order given."""
        if len(meters) != len(registers_wh) or len(meters) != len(times):
            raise InvalidLengths()
        for index in range(len(meters)):
            self._submit(meters[index], registers_wh[index], times[index])

    # Accounts.

    @payable
    def deposit(self, account: address) -> None:
        """Anybody pays for an account: arrears first."""
        if account == ZERO_ADDRESS:
            raise ZeroAddress()
        there = self._accounts[account]
        paid = min(there.arrears, self.msg.value)
        deposit: uint128 = there.deposit + self.msg.value - paid
        arrears: uint128 = there.arrears - paid
        self._earned += paid
        self._accounts[account] = Account(deposit, arrears, there.disconnected and arrears > 0)
        self.emit(Deposited(account, self.msg.value, deposit, arrears))
        if there.disconnected and arrears == 0:
            self.emit(Reconnected(account))

    @write
    def withdraw(self, amount: uint128) -> None:
        """Take back what no bill has used."""
        there = self._accounts[self.msg.sender]
        if amount > there.deposit:
            raise NotEnough(amount, there.deposit)
        self._accounts[self.msg.sender].deposit = there.deposit - amount
        self.emit(Withdrawn(self.msg.sender, amount))
        self.send(self.msg.sender, amount)

    @write
    def freeze(self, account: address, month: uint32) -> bytes32:
        """Close a month's bill for ever and give its hash; anybody may, once it is over.

        The hash is keccak256(abi.encode(account, month, energyWh, amount, readings, digest)).
        """
        until: uint64 = self._end_of(month) + self._rules.past_s
        if self.block.timestamp < until:
            raise TooEarly(month, until)
        bill = self._bills[account, month]
        if bill.frozen:
            raise AlreadyFrozen(account, month)
        self._bills[account, month].frozen = True
        amount = self._amount(bill.priced)
        bill_hash = self._hash(account, month, bill)
        self.emit(Frozen(account, month, amount, bill.energy_wh, bill_hash))
        return bill_hash

    # What anybody may read.

    @view
    def check(self, meter: address, register_wh: uint64, time: uint64) -> Verdict:
        """What `submit` would find now."""
        return self._judge(meter, self._meters[meter], register_wh, time)

    @view
    def rules(self) -> Rules:
        return self._rules

    @view
    def rate(self) -> uint64:
        return self._rate

    @view
    def meter(self, meter_: address) -> Meter:
        return self._meters[meter_]

    @view
    def account(self, account_: address) -> Account:
        return self._accounts[account_]

    @view
    def is_connected(self, account: address) -> bool:
        return not self._accounts[account].disconnected

    @view
    def bill(
        self, account: address, month: uint32
    ) -> tuple[uint64, uint256, uint32, bool, bytes32]:
        """Watt-hours, amount, number of readings, whether it is frozen, and its hash as it is."""
        found = self._bills[account, month]
        bill_hash = self._hash(account, month, found)
        return found.energy_wh, self._amount(found.priced), found.readings, found.frozen, bill_hash

    @view
    def rejected_count(self, meter: address) -> uint256:
        return len(self._rejected[meter])

    @view
    def rejected(self, meter: address, index: uint256) -> Rejected:
        return self._rejected[meter][index]

    @view
    def earned(self) -> uint256:
        return self._earned

    @view
    def month_of(self, time: uint64) -> uint32:
        """12 * year + month - 1 in the network's time, as in `metering`."""
        return self._month(time)

    # Inside.

    def _set_rules(self, rules: Rules) -> None:
        if (
            rules.register_max_wh == 0
            or rules.power_max_w == 0
            or rules.past_s > WINDOW_MAX_S
            or rules.future_s > WINDOW_MAX_S
        ):
            raise InvalidSetting()
        self._rules = rules
        self.emit(RulesSet(rules))

    def _judge(self, meter: address, last: Meter, register_wh: uint64, time: uint64) -> Verdict:
        if last.account == ZERO_ADDRESS:
            return Verdict.UNKNOWN_METER
        rules = self._rules
        now = self.block.timestamp
        if time + rules.past_s < now:
            return Verdict.TOO_OLD
        if time > now + rules.future_s:
            return Verdict.IN_FUTURE
        if time <= last.time:
            return Verdict.NOT_NEWER
        if self._bills[last.account, self._month(time)].frozen:
            return Verdict.MONTH_FROZEN
        if register_wh > rules.register_max_wh:
            return Verdict.OUT_OF_RANGE
        if register_wh < last.register_wh:
            return Verdict.REGISTER_FELL
        power = last.power_max_w if last.power_max_w > 0 else rules.power_max_w
        if (register_wh - last.register_wh) * HOUR_S > power * (time - last.time):
            return Verdict.TOO_FAST
        return Verdict.VALID

    def _submit(self, meter: address, register_wh: uint64, time: uint64) -> None:
        last = self._meters[meter]
        verdict = self._judge(meter, last, register_wh, time)
        if verdict != Verdict.VALID:
            gateway = self.msg.sender
            self._rejected[meter].append(Rejected(register_wh, time, verdict, gateway))
            self.emit(ReadingRejected(last.account, meter, register_wh, time, verdict))
            return
        self._meters[meter] = Meter(last.account, last.power_max_w, register_wh, time)
        account = last.account
        energy: uint64 = register_wh - last.register_wh
        month = self._month(time)
        bill = self._bills[account, month]
        priced: uint128 = bill.priced + energy * self._rate
        charged: uint256 = self._amount(priced) - self._amount(bill.priced)
        digest = keccak256(abi_encode(bill.digest, meter, register_wh, time, energy, self._rate))
        total: uint64 = bill.energy_wh + energy
        self._bills[account, month] = Bill(total, priced, bill.readings + 1, False, digest)
        self.emit(Billed(account, meter, month, energy, charged))
        self._charge(account, charged)

    def _charge(self, account: address, amount: uint256) -> None:
        there = self._accounts[account]
        paid = min(there.deposit, amount)
        deposit: uint128 = there.deposit - paid
        arrears: uint128 = there.arrears + amount - paid
        self._earned += paid
        disconnected = there.disconnected or arrears > self._arrears_limit
        self._accounts[account] = Account(deposit, arrears, disconnected)
        if disconnected and not there.disconnected:
            self.emit(Disconnected(account, arrears))

    def _amount(self, priced: uint128) -> uint256:
        return mul_div(priced, 1, WH_PER_KWH, ROUND_HALF_UP)

    def _hash(self, account: address, month: uint32, bill: Bill) -> bytes32:
        amount = self._amount(bill.priced)
        return keccak256(
            abi_encode(account, month, bill.energy_wh, amount, bill.readings, bill.digest)
        )

    def _month(self, time: uint64) -> uint32:
        """From days to a month of the civil calendar, whose 400 years have 146,097 days."""
        day = max(time + self._utc_offset_seconds, 0) // DAY_S
        since = day + 719_468  # from 1 March of the year 0
        of_era = since % 146_097
        year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
        of_year = of_era - (365 * year + year // 4 - year // 100)
        from_march = (5 * of_year + 2) // 153
        return 12 * (400 * (since // 146_097) + year) + from_march + 2

    def _end_of(self, month: uint32) -> uint64:
        """The second at which the next month begins."""
        months = max(month, 1) - 1  # of the next one, from March of the year 0
        year = months // 12
        from_march = months % 12
        days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * from_march + 2) // 5
        return (days - 719_468) * DAY_S - self._utc_offset_seconds
