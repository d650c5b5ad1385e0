"""What a grid's meters measured, and what each account owes: `docs/metering.md` explains it.

Energy is whole Wh, money whole minor units, rates minor units per kWh. A period is floor(start in
Unix seconds / periodSeconds); its day (from 1970-01-01, 0) and month (12 * year + month - 1) are
those of its start in local time, never of a block's clock. `quality` is IEEE 2030.5's byte, bit 7
for a nominal voltage.

Each meter records each period once, in any order. Units are priced as they are recorded, at the
newest tariff that holds for their day, and keep it; slabs count the account's kWh of the month:

    telescopic   each unit at the rate of its own slab
    published    all units of a reading at the slab that the month's total, with them, has reached

Terms of a tariff: an extra rate by the hour in which a period starts, on top of the slab's; a rate
at which export is credited, apart from import; a standing charge for each day of the month that
the tariff holds; the tax of months that begin with it.

    energy   sum of Wh times rate / 1,000, half up      tax     of energy + standing, half up
    credit   the same of export, down                   total   energy + standing + tax - credit

Corrections keep the original. The price of the old value is taken back at its tariff, that of the
new one added at the one that now holds: telescopic on top of the rest of the month, published at
the reading's own place. Never is more taken back than the month has cost.

A frozen statement never changes. What comes late is open until a supplement is frozen; standing
charge and tax rate stay those first frozen, and corrections keep the tariff they find.

To recompute a bill from proved storage: sort readings and corrections of the month by `order`, and
price one after the other; a frozen statement has the first `entries` of them.
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
    int128,
    keccak256,
    mul_div,
    string,
    uint8,
    uint16,
    uint24,
    uint32,
    uint40,
    uint48,
    uint64,
    uint72,
    uint80,
    uint96,
    uint128,
    uint224,
    uint256,
    view,
    write,
)

DAY_S = 86_400
HOUR_S = 3_600
EXTRA_BITS = 3
BASIS_POINTS = 10_000
FREEZE_DAYS = 60  # after a month's end, for who is no operator
CHANGE_MAX_S = 10_800  # from the first offset
NEVER_S = 0xFFFFFFFFFFFFFFFF
WH_PER_KWH = 1_000
SLABS_MAX = 8
SLAB_BITS = 32
SLAB_MASK = 0xFFFFFFFF
PERIOD_MAX = 0xFFFFFFFE  # the period after it still has a number
DAYS_TO_1970 = 719_468  # from 0000-03-01
ERA_DAYS = 146_097


class Meter(Struct):
    """`next_period` follows the newest recorded (0: none); a limit of 0 is none."""

    account: address
    limit_wh: uint48
    next_period: uint32
    retired: bool


class Reading(Struct):
    """`before_wh` is the month's total before it; `order` and `tariff` count from 1."""

    import_wh: uint64
    export_wh: uint64
    quality: uint8
    corrected: bool
    tariff: uint16
    order: uint24
    before_wh: uint72


class Correction(Struct):
    import_wh: uint64
    export_wh: uint64
    quality: uint8
    tariff: uint16
    order: uint24
    operator: address
    corrected_at: uint40


class Total(Struct):
    """`charge` is the sum of Wh times rate."""

    import_wh: uint72
    charge: uint128
    entries: uint32


class Tariff(Struct):
    """Bound and rate of slab i are the i-th 32 bits from the right; no bound is 0."""

    from_day: uint24
    telescopic: bool
    bounds_kwh: uint224
    rates: uint256


class Exported(Struct):
    export_wh: uint128
    credit: uint128


class Terms(Struct):
    """Octal digit h of the hours says which 32 bits of `extra_rates` hour h has."""

    standing: uint32
    tax_bp: uint16
    credit_rate: uint32
    weekday_hours: uint72
    weekend_hours: uint72
    extra_rates: uint256


class OffsetChange(Struct):
    from_s: uint40
    offset_s: int32


class Statement(Struct):
    import_wh: uint72
    export_wh: uint128
    entries: uint32
    tax_bp: uint16
    energy: uint96
    standing: uint64
    tax: uint96
    credit: uint96
    total: int128


class Seal(Struct):
    number: uint32
    frozen_at: uint40
    digest: bytes32


class Kind(Enum):
    RESET = 0
    ROLLOVER = 1


class Enrolled(Event):
    meter: indexed[address]
    account: indexed[address]


class MeterSet(Event):
    meter: indexed[address]
    limit_wh: uint48
    retired: bool


class OperatorSet(Event):
    operator: indexed[address]
    granted: bool


class TariffSet(Event):
    number: indexed[uint16]
    from_day: uint24
    telescopic: bool
    bounds_kwh: list[uint32]
    rates: list[uint32]


class TermsSet(Event):
    number: indexed[uint16]
    from_day: uint24
    terms: Terms


class OffsetSet(Event):
    from_s: uint40
    offset_s: int32


class MonthFrozen(Event):
    account: indexed[address]
    month: indexed[uint32]
    number: uint32
    index: uint32
    total: int128
    digest: bytes32


class MeterReplaced(Event):
    old: indexed[address]
    new: indexed[address]
    account: indexed[address]
    last_period: uint32
    old_register_wh: uint64
    new_register_wh: uint64
    operator: address
    reason: string


class RegisterChanged(Event):
    meter: indexed[address]
    account: indexed[address]
    kind: Kind
    period: uint32
    before_wh: uint64
    after_wh: uint64


class Recorded(Event):
    meter: indexed[address]
    account: indexed[address]
    period: uint32
    import_wh: uint64
    export_wh: uint64
    quality: uint8


class Gap(Event):
    """They may still come."""

    meter: indexed[address]
    first_period: uint32
    last_period: uint32


class Implausible(Event):
    meter: indexed[address]
    period: uint32
    import_wh: uint64
    export_wh: uint64
    limit_wh: uint48


class Corrected(Event):
    meter: indexed[address]
    account: indexed[address]
    period: uint32
    import_wh: uint64
    export_wh: uint64
    quality: uint8
    operator: address
    reason: string


class InvalidSetting(Revert):
    """A period of 1 to 86,400 s; an offset within a day of zero, its changes small and ahead."""


class InvalidTariff(Revert):
    """Days do not fall; a rate more than bounds, at most 8; bounds rise; tax up to 100 %."""


class MonthOpen(Revert):
    month: uint32
    from_day: uint32


class NothingNew(Revert):
    account: address
    month: uint32


class InvalidPeriod(Revert):
    """Before 1970, or past 32 bits."""

    period: uint256


class InvalidLengths(Revert):
    """Lists of one length, not empty."""


class ZeroAddress(Revert):
    """No key has it."""


class AlreadyEnrolled(Revert):
    """For another account a meter gets a new key."""

    meter: address
    account: address


class NotEnrolled(Revert):
    meter: address


class AlreadyRecorded(Revert):
    meter: address
    period: uint32


class NotRecorded(Revert):
    meter: address
    period: uint32


class NotYourself(Revert):
    """Another operator does this: one always remains."""


class Metering(Contract):
    operators = Role()
    _period_seconds: uint32
    _utc_offset_seconds: int32
    _terms_since: uint16
    _offset_count: uint16
    _seal_count: uint32
    _started: bool
    _meters: Map[address, Meter]
    _meters_of: Map[address, Array[address]]
    _readings: Map[tuple[address, uint32], Reading]
    _corrections: Map[tuple[address, uint32], Array[Correction]]
    _reasons: Map[tuple[address, uint32, uint32], string]
    _tariffs: Array[Tariff]
    _months: Map[tuple[address, uint32], Total]
    _month_exports: Map[tuple[address, uint32], Exported]
    _terms: Map[uint16, Terms]
    _offsets: Map[uint16, OffsetChange]
    _statements: Map[tuple[address, uint32], Array[Statement]]
    _seals: Map[tuple[address, uint32], Array[Seal]]
    _ends: Map[address, uint32]  # a replaced meter's, past its last

    def __init__(self, period_seconds: uint32, utc_offset_seconds: int32) -> None:
        if period_seconds == 0 or period_seconds > DAY_S or abs(utc_offset_seconds) >= DAY_S:
            raise InvalidSetting()
        self._period_seconds = period_seconds
        self._utc_offset_seconds = utc_offset_seconds
        self.operators.grant(self.msg.sender)

    @write(by=operators)
    def enrol(self, meter: address, account: address) -> None:
        """Let a meter record for an account."""
        if meter == ZERO_ADDRESS or account == ZERO_ADDRESS:
            raise ZeroAddress()
        self._enrol(meter, account)

    @write(by=operators)
    def set_meter(self, meter: address, limit_wh: uint48, retired: bool) -> None:
        """Set how many Wh a period may have, and whether the meter is retired."""
        device = self._meters[meter]
        if device.account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        self._meters[meter] = Meter(device.account, limit_wh, device.next_period, retired)
        self.emit(MeterSet(meter, limit_wh, retired))

    @write(by=operators)
    def set_operator(self, operator: address, granted: bool) -> None:
        if operator == self.msg.sender:
            raise NotYourself()
        if granted:
            self.operators.grant(operator)
        else:
            self.operators.revoke(operator)
        self.emit(OperatorSet(operator, granted))

    @write(by=operators)
    def set_tariff(
        self, from_day: uint24, telescopic: bool, bounds_kwh: list[uint32], rates: list[uint32]
    ) -> None:
        """Price days from `from_day` on; the last rate is for all above the last bound."""
        count = len(self._tariffs)
        slabs = len(rates)
        if slabs == 0 or slabs > SLABS_MAX or len(bounds_kwh) != slabs - 1:
            raise InvalidTariff()
        if count > 0:
            if from_day < self._tariffs[count - 1].from_day:
                raise InvalidTariff()
        packed_bounds: uint224 = 0
        packed_rates: uint256 = rates[slabs - 1] << (SLAB_BITS * (slabs - 1))
        below: uint32 = 0
        for index in range(slabs - 1):
            if bounds_kwh[index] <= below:
                raise InvalidTariff()
            below = bounds_kwh[index]
            packed_bounds += below << (SLAB_BITS * index)
            packed_rates += rates[index] << (SLAB_BITS * index)
        self._tariffs.append(Tariff(from_day, telescopic, packed_bounds, packed_rates))
        if self._terms_since != 0:
            self._terms[count + 1] = self._terms[count]
        self.emit(TariffSet(count + 1, from_day, telescopic, bounds_kwh, rates))

    @write(by=operators)
    def set_terms(self, from_day: uint24, terms: Terms) -> None:
        """A tariff with the newest one's slabs and these terms, which later slabs keep."""
        number: uint16 = len(self._tariffs) + 1
        last = self._tariff_at(number - 1)
        if from_day < last.from_day or terms.tax_bp > BASIS_POINTS:
            raise InvalidTariff()
        self._tariffs.append(Tariff(from_day, last.telescopic, last.bounds_kwh, last.rates))
        self._terms[number] = terms
        if self._terms_since == 0:
            self._terms_since = number
        self.emit(TermsSet(number, from_day, terms))

    @write(by=operators)
    def set_utc_offset(self, from_s: uint40, offset_s: int32) -> None:
        count = self._offset_count
        if abs(offset_s - self._utc_offset_seconds) > CHANGE_MAX_S:
            raise InvalidSetting()
        if self._started and from_s <= self.block.timestamp:
            raise InvalidSetting()
        if count > 0:
            if from_s <= self._offsets[count].from_s:
                raise InvalidSetting()
        self._offset_count = count + 1
        self._offsets[count + 1] = OffsetChange(from_s, offset_s)
        self.emit(OffsetSet(from_s, offset_s))

    @write
    def freeze(self, account: address, month: uint32) -> bytes32:
        """Store the statement of a month that is over, and for others than operators 60 days so."""
        index = len(self._statements[account, month])
        now = self.block.timestamp
        from_day: int128 = self._first_day(month + 1)
        if self.msg.sender not in self.operators:
            from_day += FREEZE_DAYS
        offset, _ = self._offset_at(now)
        if now + offset < from_day * DAY_S:
            raise MonthOpen(month, from_day)
        frozen = self._statement(account, month)
        entries: uint32 = 0
        if index > 0:
            entries = self._statements[account, month][index - 1].entries
        if frozen.entries == entries and (index > 0 or frozen.total == 0):
            raise NothingNew(account, month)
        number: uint32 = self._seal_count + 1
        digest = keccak256(abi_encode(number, now, account, month, index, frozen))
        self._seal_count = number
        self._statements[account, month].append(frozen)
        self._seals[account, month].append(Seal(number, now, digest))
        self.emit(MonthFrozen(account, month, number, index, frozen.total, digest))
        return digest

    @write(by=operators)
    def replace_meter(
        self,
        old: address,
        new: address,
        last_period: uint32,
        old_register_wh: uint64,
        new_register_wh: uint64,
        reason: string,
    ) -> None:
        """Retire a meter after `last_period`, and enrol another for its account."""
        device = self._meters[old]
        if device.account == ZERO_ADDRESS:
            raise NotEnrolled(old)
        if last_period > PERIOD_MAX:
            raise InvalidPeriod(last_period)
        if new == ZERO_ADDRESS or new == old:
            raise ZeroAddress()
        self._enrol(new, device.account)
        self._meters[old].retired = True
        self._ends[old] = last_period + 1
        self.emit(
            MeterReplaced(
                old,
                new,
                device.account,
                last_period,
                old_register_wh,
                new_register_wh,
                self.msg.sender,
                reason,
            )
        )

    @write
    def note_register(
        self, kind: Kind, period: uint32, before_wh: uint64, after_wh: uint64
    ) -> None:
        meter = self.msg.sender
        account = self._meters[meter].account
        if account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        self.emit(RegisterChanged(meter, account, kind, period, before_wh, after_wh))

    @write(by=operators)
    def correct(
        self,
        meter: address,
        period: uint32,
        import_wh: uint64,
        export_wh: uint64,
        quality: uint8,
        reason: string,
    ) -> None:
        """Put a value in the place of a recorded one."""
        old = self._readings[meter, period]
        if old.order == 0:
            raise NotRecorded(meter, period)
        old_import, old_export, _, old_tariff = self._current(meter, period)
        account = self._meters[meter].account
        day = self.day_of(period)
        month = self.month_of(day)
        number, tariff = self._find_tariff(day)
        if len(self._statements[account, month]) > 0:
            number, tariff = old_tariff, self._tariff_at(old_tariff)
        total = self._months[account, month]
        order = total.entries + 1
        rest = total.import_wh - old_import
        charge = self._price_again(tariff, old.before_wh, rest, import_wh)
        tariff = self._tariff_at(old_tariff)
        change = charge - self._price_again(tariff, old.before_wh, rest, old_import)
        if self._terms_since != 0:
            extra, credit = self._price_terms(number, period, import_wh, export_wh)
            old_extra, old_credit = self._price_terms(old_tariff, period, old_import, old_export)
            change += extra - old_extra
            if credit != old_credit:
                self._month_exports[account, month].credit += credit - old_credit
        change = max(change, -total.charge)
        self._months[account, month] = Total(rest + import_wh, total.charge + change, order)
        if export_wh != old_export:
            self._month_exports[account, month].export_wh += export_wh - old_export
        self._readings[meter, period].corrected = True
        operator = self.msg.sender
        self._reasons[meter, period, len(self._corrections[meter, period])] = reason
        self._corrections[meter, period].append(
            Correction(import_wh, export_wh, quality, number, order, operator, self.block.timestamp)
        )
        self.emit(
            Corrected(meter, account, period, import_wh, export_wh, quality, operator, reason)
        )

    @write
    def record(self, period: uint32, import_wh: uint64, export_wh: uint64, quality: uint8) -> None:
        """Record what the calling meter measured."""
        self._record(period, [import_wh], [export_wh], [quality])

    @write
    def record_many(
        self,
        first_period: uint32,
        import_wh: list[uint64],
        export_wh: list[uint64],
        quality: list[uint8],
    ) -> None:
        """Record consecutive periods: all of them, or none."""
        self._record(first_period, import_wh, export_wh, quality)

    @view
    def period_seconds(self) -> uint32:
        return self._period_seconds

    @view
    def utc_offset_seconds(self) -> int32:
        return self._utc_offset_seconds

    @view
    def is_operator(self, account: address) -> bool:
        return account in self.operators

    @view
    def meter(self, meter_: address) -> Meter:
        return self._meters[meter_]

    @view
    def account_of(self, meter: address) -> address:
        return self._meters[meter].account

    @view
    def meters_of(self, account: address) -> list[address]:
        """All that were ever enrolled."""
        count = len(self._meters_of[account])
        return [self._meters_of[account][index] for index in range(count)]

    @view
    def reading(self, meter: address, period: uint32) -> tuple[uint64, uint64, uint8, bool, uint32]:
        """importWh, exportWh, quality; whether recorded; how often corrected."""
        import_wh, export_wh, quality, _ = self._current(meter, period)
        recorded = self._readings[meter, period].order != 0
        return import_wh, export_wh, quality, recorded, len(self._corrections[meter, period])

    @view
    def readings(
        self, meter: address, first_period: uint32, count: uint32
    ) -> tuple[list[uint64], list[uint64], list[uint8], list[bool]]:
        """importWh, exportWh, quality, whether recorded."""
        imports: list[uint64] = []
        exports: list[uint64] = []
        qualities: list[uint8] = []
        recorded: list[bool] = []
        for period in range(first_period, first_period + count):
            import_wh, export_wh, quality, _ = self._current(meter, period)
            imports.append(import_wh)
            exports.append(export_wh)
            qualities.append(quality)
            recorded.append(self._readings[meter, period].order != 0)
        return imports, exports, qualities, recorded

    @view
    def original(self, meter: address, period: uint32) -> Reading:
        """What the meter itself recorded."""
        return self._readings[meter, period]

    @view
    def correction(
        self, meter: address, period: uint32, index: uint32
    ) -> tuple[Correction, string]:
        """Oldest first from 0, and its reason."""
        return self._corrections[meter, period][index], self._reasons[meter, period, index]

    @view
    def tariff_count(self) -> uint32:
        return len(self._tariffs)

    @view
    def tariff(self, number: uint16) -> tuple[uint24, bool, list[uint32], list[uint32]]:
        """From 1: its first day, whether telescopic, boundsKwh, rates."""
        stored = self._tariffs[number - 1]
        bounds: list[uint32] = []
        rates: list[uint32] = [stored.rates & SLAB_MASK]
        for index in range(1, SLABS_MAX):
            bound = (stored.bounds_kwh >> (SLAB_BITS * (index - 1))) & SLAB_MASK
            if bound != 0:
                bounds.append(bound)
                rates.append((stored.rates >> (SLAB_BITS * index)) & SLAB_MASK)
        return stored.from_day, stored.telescopic, bounds, rates

    @view
    def terms(self, number: uint16) -> Terms:
        return self._terms[number]

    @view
    def offset_change(self, number: uint16) -> OffsetChange:
        return self._offsets[number]

    @view
    def day_of(self, period: uint32) -> uint32:
        """From 1970-01-01 in local time."""
        return self._start_of(period) // DAY_S

    @view
    def month_of(self, day: uint32) -> uint32:
        """12 * year + month - 1; Hinnant's civil_from_days."""
        shifted = day + DAYS_TO_1970
        era_day = shifted % ERA_DAYS
        leap_days = era_day // 1_460 - era_day // 36_524 + era_day // 146_096
        year = (era_day - leap_days) // 365
        year_day = era_day - (365 * year + year // 4 - year // 100)
        month = (5 * year_day + 2) // 153  # from March, 0 to 11
        return 12 * (400 * (shifted // ERA_DAYS) + year) + month + 2

    @view
    def usage_of_day(self, account: address, day: uint32) -> tuple[uint128, uint128, uint32]:
        """importWh, exportWh, readings."""
        import_wh, export_wh, _, count = self._sum_day(account, day)
        return import_wh, export_wh, count

    @view
    def usage_of_month(self, account: address, month: uint32) -> tuple[uint128, uint128, uint32]:
        """importWh, exportWh, readings and corrections."""
        total = self._months[account, month]
        return total.import_wh, self._month_exports[account, month].export_wh, total.entries

    @view
    def bill_of_day(self, account: address, day: uint32) -> uint128:
        """In minor units, rounded by itself: days need not add up."""
        _, _, charge, _ = self._sum_day(account, day)
        return (charge + WH_PER_KWH // 2) // WH_PER_KWH

    @view
    def bill_of_month(self, account: address, month: uint32) -> uint128:
        """What the account owes, in minor units."""
        return max(self._statement(account, month).total, 0)

    @view
    def statement_of_month(self, account: address, month: uint32) -> Statement:
        """As of now, with the standing charge of all its days."""
        return self._statement(account, month)

    @view
    def open_of_month(self, account: address, month: uint32) -> int128:
        """What a month's total changed since it was last frozen."""
        total = self._statement(account, month).total
        count = len(self._statements[account, month])
        if count > 0:
            total -= self._statements[account, month][count - 1].total
        return total

    @view
    def frozen_count(self, account: address, month: uint32) -> uint32:
        return len(self._statements[account, month])

    @view
    def frozen(self, account: address, month: uint32, index: uint32) -> tuple[Statement, Seal]:
        """The bill is 0, supplements follow."""
        return self._statements[account, month][index], self._seals[account, month][index]

    def _record(
        self,
        first: uint32,
        imports: list[uint64],
        exports: list[uint64],
        qualities: list[uint8],
    ) -> None:
        meter = self.msg.sender
        device = self._meters[meter]
        if device.account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        count = len(imports)
        if count == 0 or len(exports) != count or len(qualities) != count:
            raise InvalidLengths()
        last = first + count - 1
        if last > PERIOD_MAX:
            raise InvalidPeriod(last)
        if device.retired:
            if last >= self._ends[meter]:
                raise NotEnrolled(meter)
        if device.next_period != 0 and first > device.next_period:
            self.emit(Gap(meter, device.next_period, first - 1))
        done: uint32 = 0
        while done < count:
            done = self._record_day(device, first, done, imports, exports, qualities)
        if last >= device.next_period:
            self._meters[meter] = Meter(device.account, device.limit_wh, last + 1, device.retired)

    def _record_day(
        self,
        device: Meter,
        first: uint32,
        start: uint32,
        imports: list[uint64],
        exports: list[uint64],
        qualities: list[uint8],
    ) -> uint32:
        """Record from index `start` to the end of its day; the index after it."""
        meter = self.msg.sender
        account = device.account
        limit_wh = device.limit_wh
        start_s = self._start_of(first + start)
        day = start_s // DAY_S
        month = self.month_of(day)
        number, tariff = self._find_tariff(day)
        total = self._months[account, month]
        import_wh: uint72 = total.import_wh
        charge: uint128 = total.charge
        order: uint24 = total.entries
        exported: uint128 = 0
        credit: uint128 = 0
        timed = 0 < self._terms_since <= number
        left = -((start_s - (day + 1) * DAY_S) // self._period_seconds)
        if self._offset_count != 0:
            begin = (first + start) * self._period_seconds
            _, until = self._offset_at(begin)
            left = min(left, -((begin - until) // self._period_seconds))
        end = min(len(imports), start + left)
        for index in range(start, end):
            period = first + index
            units = imports[index]
            export = exports[index]
            quality = qualities[index]
            if period < device.next_period:
                if self._readings[meter, period].order != 0:
                    raise AlreadyRecorded(meter, period)
            order += 1
            self._readings[meter, period] = Reading(
                units, export, quality, False, number, order, import_wh
            )
            charge += self._price(tariff, import_wh, units)
            if timed:
                extra, part = self._price_terms(number, period, units, export)
                charge += extra
                credit += part
            import_wh += units
            exported += export
            self.emit(Recorded(meter, account, period, units, export, quality))
            if limit_wh != 0 and max(units, export) > limit_wh:
                self.emit(Implausible(meter, period, units, export, limit_wh))
        self._months[account, month] = Total(import_wh, charge, order)
        if exported > 0:
            self._month_exports[account, month].export_wh += exported
            self._month_exports[account, month].credit += credit
        return end

    def _current(self, meter: address, period: uint32) -> tuple[uint64, uint64, uint8, uint16]:
        """importWh, exportWh, quality and tariff that hold."""
        reading = self._readings[meter, period]
        if not reading.corrected:
            return reading.import_wh, reading.export_wh, reading.quality, reading.tariff
        last = self._corrections[meter, period][len(self._corrections[meter, period]) - 1]
        return last.import_wh, last.export_wh, last.quality, last.tariff

    def _sum_day(self, account: address, day: uint32) -> tuple[uint128, uint128, uint128, uint32]:
        imported: uint128 = 0
        exported: uint128 = 0
        charge: uint128 = 0
        count: uint32 = 0
        changes = self._offset_count
        slack = CHANGE_MAX_S if changes > 0 else 0
        start_s = day * DAY_S - self._utc_offset_seconds
        start = -((slack - start_s) // self._period_seconds)
        end = -(-(start_s + DAY_S + slack) // self._period_seconds)
        for index in range(len(self._meters_of[account])):
            meter = self._meters_of[account][index]
            for period in range(max(start, 0), end):
                reading = self._readings[meter, period]
                if reading.order != 0 and (changes == 0 or self.day_of(period) == day):
                    import_wh, export_wh, _, number = self._current(meter, period)
                    imported += import_wh
                    exported += export_wh
                    charge += self._price(self._tariff_at(number), reading.before_wh, import_wh)
                    if self._terms_since != 0:
                        extra, _ = self._price_terms(number, period, import_wh, export_wh)
                        charge += extra
                    count += 1
        return imported, exported, charge, count

    def _find_tariff(self, day: uint64) -> tuple[uint16, Tariff]:
        """Number 0 is a tariff under which all is free."""
        number = len(self._tariffs)
        while number > 0:
            tariff = self._tariffs[number - 1]
            if tariff.from_day <= day:
                return number, tariff
            number -= 1
        return 0, self._tariff_at(0)

    def _tariff_at(self, number: uint16) -> Tariff:
        if number == 0:
            return Tariff(0, False, 0, 0)
        return self._tariffs[number - 1]

    def _price(self, tariff: Tariff, before_wh: uint72, units_wh: uint64) -> uint128:
        """In Wh times rate, of units that come after `before_wh` of the month."""
        after = before_wh + units_wh
        priced: uint80 = before_wh
        bounds: uint224 = tariff.bounds_kwh
        rates: uint256 = tariff.rates
        charge: uint128 = 0
        bound = (bounds & SLAB_MASK) * WH_PER_KWH
        while bound != 0 and after > bound:
            if tariff.telescopic and priced < bound:
                charge += (bound - priced) * (rates & SLAB_MASK)
                priced = bound
            bounds = bounds >> SLAB_BITS
            rates = rates >> SLAB_BITS
            bound = (bounds & SLAB_MASK) * WH_PER_KWH
        return charge + (after - priced) * (rates & SLAB_MASK)

    def _price_again(
        self, tariff: Tariff, before_wh: uint72, rest_wh: uint72, units_wh: uint64
    ) -> uint128:
        """On top of the rest, or at its place."""
        return self._price(tariff, rest_wh if tariff.telescopic else before_wh, units_wh)

    def _price_terms(
        self, number: uint16, period: uint32, import_wh: uint64, export_wh: uint64
    ) -> tuple[uint128, uint128]:
        """What the hour adds, and the credit, in Wh times rate."""
        terms = self._terms[number]
        start_s = self._start_of(period)
        weekday = (start_s // DAY_S + 3) % 7  # Monday is 0
        hours = terms.weekday_hours if weekday < 5 else terms.weekend_hours
        place = (hours >> (EXTRA_BITS * (start_s % DAY_S // HOUR_S))) & (SLABS_MAX - 1)
        rate = (terms.extra_rates >> (SLAB_BITS * place)) & SLAB_MASK
        return import_wh * rate, export_wh * terms.credit_rate

    def _statement(self, account: address, month: uint32) -> Statement:
        total = self._months[account, month]
        exports = self._month_exports[account, month]
        energy: uint96 = (total.charge + WH_PER_KWH // 2) // WH_PER_KWH
        standing, tax_bp = self._standing(account, month)
        tax: uint96 = mul_div(energy + standing, tax_bp, BASIS_POINTS, ROUND_HALF_UP)
        credit: uint96 = exports.credit // WH_PER_KWH
        return Statement(
            total.import_wh,
            exports.export_wh,
            total.entries,
            tax_bp,
            energy,
            standing,
            tax,
            credit,
            energy + standing + tax - credit,
        )

    def _standing(self, account: address, month: uint32) -> tuple[uint64, uint16]:
        """And the tax rate."""
        if len(self._statements[account, month]) > 0:
            settled = self._statements[account, month][0]
            return settled.standing, settled.tax_bp
        if self._terms_since == 0 or len(self._meters_of[account]) == 0:
            return 0, 0
        first = max(self._first_day(month), 0)
        taxed, _ = self._find_tariff(first)
        end = max(self._first_day(month + 1), 0)
        standing: uint64 = 0
        number = len(self._tariffs)
        while number > 0 and end > first:
            from_day = max(self._tariffs[number - 1].from_day, first)
            if from_day < end:
                standing += (end - from_day) * self._terms[number].standing
                end = from_day
            number -= 1
        return standing, self._terms[taxed].tax_bp

    def _enrol(self, meter: address, account: address) -> None:
        device = self._meters[meter]
        if device.account == ZERO_ADDRESS:
            self._meters[meter] = Meter(account, 0, 0, False)
            self._meters_of[account].append(meter)
        elif device.account != account:
            raise AlreadyEnrolled(meter, device.account)
        if not self._started:
            self._started = True
        self.emit(Enrolled(meter, account))

    def _first_day(self, month: uint64) -> int128:
        """Hinnant's days_from_civil."""
        year = (month - 2) // 12  # years and months from March
        days = (153 * ((month - 2) % 12) + 2) // 5
        return 365 * year + year // 4 - year // 100 + year // 400 + days - DAYS_TO_1970

    def _offset_at(self, time_s: uint64) -> tuple[int32, uint64]:
        """And when it changes next."""
        until: uint64 = NEVER_S
        number = self._offset_count
        while number > 0:
            change = self._offsets[number]
            if change.from_s <= time_s:
                return change.offset_s, until
            until = change.from_s
            number -= 1
        return self._utc_offset_seconds, until

    def _start_of(self, period: uint32) -> uint64:
        start_s = period * self._period_seconds
        offset = self._utc_offset_seconds
        if self._offset_count != 0:
            offset, _ = self._offset_at(start_s)
        start_s += offset
        if start_s < 0:
            raise InvalidPeriod(period)
        return start_s
