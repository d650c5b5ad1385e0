"""A failing run with less in it: which of its disturbances are needed to make it fail."""

from collections.abc import Callable


def shrink(count: int, fails: Callable[[list[int]], bool], runs_max: int) -> list[int]:
    """A small part of range(count) that still fails, after at most `runs_max` runs.

    Halves, quarters and so on are left out as long as what remains fails (Zeller's delta
    debugging, complements only).
    """
    kept = list(range(count))
    parts = 2
    while kept and runs_max > 0:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            runs_max -= 1
            if fails(rest):
                kept, parts = rest, max(2, parts - 1)
                break
            if runs_max <= 0:
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), 2 * parts)
    return kept
