"""What a grid's meters measured, and what each account owes for it.

Energy is whole watt-hours, money whole minor units (cents, paise), rates minor units per kWh. A
period is floor(start in Unix seconds / periodSeconds). Its day (from 1970-01-01, 0) and its month
(12 * year + month - 1) are those of its start in local standard time, never of a block's clock.

Each meter records each period once, in any order: late readings are taken, zero is a reading,
nothing is dropped. Periods left out and readings above the meter's limit are told as events.
`quality` is the byte of IEEE 2030.5 (ReadingBase), with bit 7 our own:

    bit 0    1  valid                               bit 4   16  questionable
    bit 1    2  edited by hand                      bit 5   32  derived from other values
    bit 2    4  estimated from a reference day      bit 6   64  projected
    bit 3    8  interpolated                        bit 7  128  from nominal, not measured, voltage

Tariffs hold from a day on; where several do, the newest. Units are priced as they are recorded, at
the tariff that holds for the day of their period among those set by then, and keep that tariff: so
set one before its first day. Where none holds, units cost nothing until they are corrected. Slabs
count the account's units (kWh) of the month, all meters together, in the order of recording; "up to
100" includes 100. Two rules:

    telescopic   each unit at the rate of its own slab
    published    all units of a reading at the slab that the month's running total, with them, has
                 reached; the published tariff is bounds 100, 300, 500 and rates 296, 556, 916, 1061

Amounts are kept as sums of Wh times rate and divided by 1,000, half up, once a month. Export is
counted and not paid for here.

Corrections, by an operator, keep the original and say who, why and when. The price of the old value
is taken back at its tariff, that of the new one added at the tariff that now holds for its day:

    telescopic   both on top of the rest of the month's total, so that a month under one tariff
                 always costs what its total costs, whatever was corrected in which order
    published    both at the reading's own place, `before_wh`; the readings after it keep theirs

Never is more taken back than the month has cost. A correction that changes no value and no tariff
changes no amount. A day costs what its readings cost at their own places.

To recompute a bill from proved storage: sort the readings of the account's meters in the month and
their corrections by `order`, and price one after the other, as `_price` and `correct` do. Slots are
Solidity's for the fields of Metering (`wattledger contract layout`).
"""

from ledger.contract import (
    ZERO_ADDRESS,
    Array,
    Contract,
    Event,
    Map,
    Revert,
    Role,
    Struct,
    address,
    indexed,
    int32,
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
    uint128,
    uint224,
    uint256,
    view,
    write,
)

DAY_S = 86_400
WH_PER_KWH = 1_000
SLABS_MAX = 8  # rates of 32 bits fill a word, and seven bounds one beside day and rule
SLAB_BITS = 32
SLAB_MASK = 0xFFFFFFFF
PERIOD_MAX = 0xFFFFFFFE  # the last, so that the period after it still has a number
DAYS_TO_1970 = 719_468  # from 0000-03-01, where eras of 400 years begin
ERA_DAYS = 146_097


class Meter(Struct):
    """One word. `next_period` follows the newest recorded (0: none); a limit of 0 is none."""

    account: address
    limit_wh: uint48
    next_period: uint32
    retired: bool


class Reading(Struct):
    """One word, full: what the meter said. Never changed, but for the mark that it was corrected.

    `before_wh` is the month's total before it, `order` counts records and corrections of the
    account's month from 1 (0: no reading), `tariff` counts from 1 (0: none held).
    """

    import_wh: uint64
    export_wh: uint64
    quality: uint8
    corrected: bool
    tariff: uint16
    order: uint24
    before_wh: uint72


class Correction(Struct):
    """Two words: what holds instead, and whose word it is."""

    import_wh: uint64
    export_wh: uint64
    quality: uint8
    tariff: uint16
    order: uint24
    operator: address
    corrected_at: uint40


class Total(Struct):
    """One word, of an account's month. `charge` is the sum of Wh times rate."""

    import_wh: uint72
    charge: uint128
    entries: uint32


class Tariff(Struct):
    """Two words. Bound and rate of slab i are the i-th 32 bits from the right; no bound is 0."""

    from_day: uint24
    telescopic: bool
    bounds_kwh: uint224
    rates: uint256


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


class Recorded(Event):
    meter: indexed[address]
    account: indexed[address]
    period: uint32
    import_wh: uint64
    export_wh: uint64
    quality: uint8


class Gap(Event):
    """Periods left out before the one now recorded; they may still come."""

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
    """periodSeconds is 1 to 86,400, and utcOffsetSeconds within a day of zero."""


class InvalidTariff(Revert):
    """Days do not fall; one rate more than bounds, at most 8; bounds rise from above zero."""


class InvalidPeriod(Revert):
    """Before 1970 in local standard time, or past what 32 bits hold."""

    period: uint256


class InvalidLengths(Revert):
    """recordMany takes lists of one length, not empty."""


class ZeroAddress(Revert):
    """No key has the zero address."""


class AlreadyEnrolled(Revert):
    """A meter stays with its account: for another account it gets a new key, as a new meter."""

    meter: address
    account: address


class NotEnrolled(Revert):
    """Not a meter, or one that was retired."""

    meter: address


class AlreadyRecorded(Revert):
    meter: address
    period: uint32


class NotRecorded(Revert):
    meter: address
    period: uint32


class NotYourself(Revert):
    """Another operator does this, so that one always remains."""


class Metering(Contract):
    """Readings, corrections, tariffs and bills of one grid."""

    operators = Role()
    _period_seconds: uint32
    _utc_offset_seconds: int32
    _meters: Map[address, Meter]
    _meters_of: Map[address, Array[address]]
    _readings: Map[tuple[address, uint32], Reading]
    _corrections: Map[tuple[address, uint32], Array[Correction]]
    _reasons: Map[tuple[address, uint32, uint32], string]
    _tariffs: Array[Tariff]
    _months: Map[tuple[address, uint32], Total]
    _month_exports: Map[tuple[address, uint32], uint128]

    def __init__(self, period_seconds: uint32, utc_offset_seconds: int32) -> None:
        if period_seconds == 0 or period_seconds > DAY_S or abs(utc_offset_seconds) >= DAY_S:
            raise InvalidSetting()
        self._period_seconds = period_seconds
        self._utc_offset_seconds = utc_offset_seconds
        self.operators.grant(self.msg.sender)

    @write(by=operators)
    def enrol(self, meter: address, account: address) -> None:
        """Let a meter record for an account. The same once more is no error."""
        if meter == ZERO_ADDRESS or account == ZERO_ADDRESS:
            raise ZeroAddress()
        device = self._meters[meter]
        if device.account == ZERO_ADDRESS:
            self._meters[meter] = Meter(account, 0, 0, False)
            self._meters_of[account].append(meter)
        elif device.account != account:
            raise AlreadyEnrolled(meter, device.account)
        self.emit(Enrolled(meter, account))

    @write(by=operators)
    def set_meter(self, meter: address, limit_wh: uint48, retired: bool) -> None:
        """Set how many Wh a period may have (0: any), and whether the meter is retired."""
        device = self._meters[meter]
        if device.account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        self._meters[meter] = Meter(device.account, limit_wh, device.next_period, retired)
        self.emit(MeterSet(meter, limit_wh, retired))

    @write(by=operators)
    def set_operator(self, operator: address, granted: bool) -> None:
        """Make an account an operator, or one no longer."""
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
        """Price units of days from `from_day` on; the last rate is for all above the last bound."""
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
        self.emit(TariffSet(count + 1, from_day, telescopic, bounds_kwh, rates))

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
        """Put a value in the place of a recorded one, and say why."""
        old = self._readings[meter, period]
        if old.order == 0:
            raise NotRecorded(meter, period)
        old_import, old_export, _, old_tariff = self._current(meter, period)
        account = self._meters[meter].account
        day = self.day_of(period)
        month = self.month_of(day)
        number, tariff = self._find_tariff(day)
        total = self._months[account, month]
        order = total.entries + 1
        rest = total.import_wh - old_import
        charge = self._price_again(tariff, old.before_wh, rest, import_wh)
        tariff = self._tariff_at(old_tariff)
        change = charge - self._price_again(tariff, old.before_wh, rest, old_import)
        change = max(change, -total.charge)
        self._months[account, month] = Total(rest + import_wh, total.charge + change, order)
        if export_wh != old_export:
            self._month_exports[account, month] += export_wh - old_export
        self._readings[meter, period] = Reading(
            old.import_wh, old.export_wh, old.quality, True, old.tariff, old.order, old.before_wh
        )
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
        """Record, once, what the calling meter measured in a period."""
        self._record(period, [import_wh], [export_wh], [quality])

    @write
    def record_many(
        self,
        first_period: uint32,
        import_wh: list[uint64],
        export_wh: list[uint64],
        quality: list[uint8],
    ) -> None:
        """Record consecutive periods of the calling meter: all of them, or none."""
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
        """Whose readings the meter's are; the zero address where it is not enrolled."""
        return self._meters[meter].account

    @view
    def meters_of(self, account: address) -> list[address]:
        """Every meter that was ever enrolled for an account, oldest first."""
        meters: list[address] = []
        for index in range(len(self._meters_of[account])):
            meters.append(self._meters_of[account][index])
        return meters

    @view
    def reading(self, meter: address, period: uint32) -> tuple[uint64, uint64, uint8, bool, uint32]:
        """What holds: importWh, exportWh, quality; whether recorded; how often corrected."""
        import_wh, export_wh, quality, _ = self._current(meter, period)
        recorded = self._readings[meter, period].order != 0
        return import_wh, export_wh, quality, recorded, len(self._corrections[meter, period])

    @view
    def readings(
        self, meter: address, first_period: uint32, count: uint32
    ) -> tuple[list[uint64], list[uint64], list[uint8], list[bool]]:
        """What holds for consecutive periods: importWh, exportWh, quality, whether recorded."""
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
        """What the meter itself recorded; order 0 if nothing."""
        return self._readings[meter, period]

    @view
    def correction(
        self, meter: address, period: uint32, index: uint32
    ) -> tuple[Correction, string]:
        """One correction of a reading, oldest first from 0, and its reason."""
        return self._corrections[meter, period][index], self._reasons[meter, period, index]

    @view
    def tariff_count(self) -> uint32:
        return len(self._tariffs)

    @view
    def tariff(self, number: uint16) -> tuple[uint24, bool, list[uint32], list[uint32]]:
        """Tariff `number`, from 1: its first day, whether telescopic, boundsKwh, rates."""
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
    def day_of(self, period: uint32) -> uint32:
        """The day in which a period starts, counted from 1970-01-01 in local standard time."""
        return self._start_of(period) // DAY_S

    @view
    def month_of(self, day: uint32) -> uint32:
        """12 * year + month - 1, Gregorian; the arithmetic is Hinnant's civil_from_days."""
        shifted = day + DAYS_TO_1970
        era_day = shifted % ERA_DAYS
        leap_days = era_day // 1_460 - era_day // 36_524 + era_day // 146_096
        year = (era_day - leap_days) // 365
        year_day = era_day - (365 * year + year // 4 - year // 100)
        month = (5 * year_day + 2) // 153  # from March, 0 to 11
        return 12 * (400 * (shifted // ERA_DAYS) + year) + month + 2

    @view
    def usage_of_day(self, account: address, day: uint32) -> tuple[uint128, uint128, uint32]:
        """importWh, exportWh, and how many readings they are the sums of."""
        import_wh, export_wh, _, count = self._sum_day(account, day)
        return import_wh, export_wh, count

    @view
    def usage_of_month(self, account: address, month: uint32) -> tuple[uint128, uint128, uint32]:
        """importWh, exportWh, and how many readings and corrections they are the sums of."""
        total = self._months[account, month]
        return total.import_wh, self._month_exports[account, month], total.entries

    @view
    def bill_of_day(self, account: address, day: uint32) -> uint128:
        """What a day's readings cost, in minor units, rounded by itself: days need not add up."""
        _, _, charge, _ = self._sum_day(account, day)
        return (charge + WH_PER_KWH // 2) // WH_PER_KWH

    @view
    def bill_of_month(self, account: address, month: uint32) -> uint128:
        """What the account owes for a month, in minor units."""
        return (self._months[account, month].charge + WH_PER_KWH // 2) // WH_PER_KWH

    def _record(
        self,
        first: uint32,
        imports: list[uint64],
        exports: list[uint64],
        qualities: list[uint8],
    ) -> None:
        meter = self.msg.sender
        device = self._meters[meter]
        if device.account == ZERO_ADDRESS or device.retired:
            raise NotEnrolled(meter)
        count = len(imports)
        if count == 0 or len(exports) != count or len(qualities) != count:
            raise InvalidLengths()
        last = first + count - 1
        if last > PERIOD_MAX:
            raise InvalidPeriod(last)
        if device.next_period != 0 and first > device.next_period:
            self.emit(Gap(meter, device.next_period, first - 1))
        done: uint32 = 0
        while done < count:
            done = self._record_day(device, first, done, imports, exports, qualities)
        if last >= device.next_period:
            self._meters[meter] = Meter(device.account, device.limit_wh, last + 1, False)

    def _record_day(
        self,
        device: Meter,
        first: uint32,
        start: uint32,
        imports: list[uint64],
        exports: list[uint64],
        qualities: list[uint8],
    ) -> uint32:
        """Record from index `start` to the end of its day; the index after the last recorded.

        A day has one month and one tariff, so both are looked up, and the total written, once.
        """
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
        left = -((start_s - (day + 1) * DAY_S) // self._period_seconds)  # periods of this day
        end = min(len(imports), start + left)
        for index in range(start, end):
            period = first + index
            units = imports[index]
            export = exports[index]
            quality = qualities[index]
            if period < device.next_period:  # else it is newer than all that were recorded
                if self._readings[meter, period].order != 0:
                    raise AlreadyRecorded(meter, period)
            order += 1
            self._readings[meter, period] = Reading(
                units, export, quality, False, number, order, import_wh
            )
            charge += self._price(tariff, import_wh, units)
            import_wh += units
            exported += export
            self.emit(Recorded(meter, account, period, units, export, quality))
            if limit_wh != 0 and max(units, export) > limit_wh:
                self.emit(Implausible(meter, period, units, export, limit_wh))
        self._months[account, month] = Total(import_wh, charge, order)
        if exported > 0:
            self._month_exports[account, month] += exported
        return end

    def _current(self, meter: address, period: uint32) -> tuple[uint64, uint64, uint8, uint16]:
        """What holds: importWh, exportWh, quality, and the tariff it is priced at."""
        reading = self._readings[meter, period]
        if not reading.corrected:
            return reading.import_wh, reading.export_wh, reading.quality, reading.tariff
        last = self._corrections[meter, period][len(self._corrections[meter, period]) - 1]
        return last.import_wh, last.export_wh, last.quality, last.tariff

    def _sum_day(self, account: address, day: uint32) -> tuple[uint128, uint128, uint128, uint32]:
        """importWh, exportWh, Wh times rate and number of the readings of a day."""
        imported: uint128 = 0
        exported: uint128 = 0
        charge: uint128 = 0
        count: uint32 = 0
        start_s = day * DAY_S - self._utc_offset_seconds
        start = -(-start_s // self._period_seconds)
        end = -(-(start_s + DAY_S) // self._period_seconds)
        for index in range(len(self._meters_of[account])):
            meter = self._meters_of[account][index]
            for period in range(max(start, 0), end):
                reading = self._readings[meter, period]
                if reading.order != 0:
                    import_wh, export_wh, _, number = self._current(meter, period)
                    imported += import_wh
                    exported += export_wh
                    charge += self._price(self._tariff_at(number), reading.before_wh, import_wh)
                    count += 1
        return imported, exported, charge, count

    def _find_tariff(self, day: uint32) -> tuple[uint16, Tariff]:
        """The tariff of a day and its number; number 0 is one under which all is free."""
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
        """What units cost, in Wh times rate, that come after `before_wh` of the month."""
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
        """What a corrected reading costs: on top of the rest, or at its place."""
        return self._price(tariff, rest_wh if tariff.telescopic else before_wh, units_wh)

    def _start_of(self, period: uint32) -> uint64:
        """In seconds of local standard time."""
        start_s = period * self._period_seconds + self._utc_offset_seconds
        if start_s < 0:
            raise InvalidPeriod(period)
        return start_s
