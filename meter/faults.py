"""What a source does wrong, counted per kind and logged without flooding.

The first of a kind is logged at once, then the kind at most hourly with its count. Nothing here
decides what happens to a reading.
"""

import logging
import time
from collections.abc import Callable

LOG_EVERY_S = 3_600

# kind -> what it means and what to try, as it stands in the log and in the documentation
KINDS = {
    "empty_line": "a line without fields",
    "half_line": "the first line after opening the port is not whole; this is usual",
    "text_line": "a line of text where numbers belong; is the board in its command mode?",
    "binary_block": "a binary block 43 2D 7C 19; the board was reset",
    "line_too_long": "no line end for a whole buffer; check the baud rate",
    "too_few_fields": "a line with fewer fields than the map; check `board` or `fields`",
    "too_many_fields": "a line with more fields than the map; check `board` or `fields`",
    "other_node": "a line of another node id",
    "not_measured": "NaN or an empty field: the time until the next value is a gap",
    "bad_number": "text where a number belongs: the time until the next value is a gap",
    "minus_zero": "the board printed -0.0; it counts as the measured zero that it is",
    "out_of_range": "a value beyond the limits set: the time until the next value is a gap",
    "out_of_order": "a reading at or before the last one; ignored",
    "bad_time": "a row whose time cannot be read; ignored",
    "silence": "no reading for longer than longest_gap_s; a gap begins",
    "clock_jump": "the clock jumped; the time between is a gap",
    "clock_unset": "the clock shows a time before this program was written; waiting for it",
    "period_closed": "readings in a period that is already recorded, after a clock set back",
    "register_step_back": "the register fell or leapt once; waiting for a second reading",
    "register_reset": "the register started anew: energy since the last reading is unknown",
    "register_gap": "a register was away too long to say which periods its energy belongs to",
    "port_lost": "the serial port cannot be opened or read; retrying",
    "disk_full": "the outbox cannot be written; measuring goes on in memory",
    "records_lost": "too many records wait in memory for a full disk; this one is lost",
    "node_unreachable": "a node does not answer; trying the others, then again",
    "wrong_chain": "a node serves another chain than this meter's, or is behind; not used",
    "node_refused": "a node refuses the transaction; the same bytes are sent again later",
    "contract_refused": "the contract would refuse the reading; nothing was sent, trying again",
    "reverted": "a transaction was included but had no effect; its periods are checked",
    "conflict": "the chain has another value for a period than this meter; it stands as it is",
    "foreign_nonce": "the key was used by someone else; a meter's key must be its own",
}


class Faults:
    """Counters per kind for one meter. `counts` may be read at any time."""

    def __init__(
        self,
        meter: str,
        log: logging.Logger,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: dict[str, int] = {}
        self._meter = meter
        self._log = log
        self._monotonic_s = monotonic_s
        self._logged_s: dict[str, float] = {}

    def count(self, kind: str, detail: str = "") -> None:
        """Count one fault of a kind in KINDS; log it if it is the first in an hour."""
        meaning = KINDS[kind]
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        now_s = self._monotonic_s()
        last_s = self._logged_s.get(kind)
        if last_s is not None and now_s - last_s < LOG_EVERY_S:
            return
        self._logged_s[kind] = now_s
        level = logging.INFO if kind in ("other_node", "minus_zero") else logging.WARNING
        shown = f" ({detail})" if detail else ""
        self._log.log(level, "%s: %s%s [%s, %d so far]", self._meter, meaning, shown, kind, count)
