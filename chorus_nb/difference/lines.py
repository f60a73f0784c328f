"""Which lines of two texts are the same, in time that nobody can make long.

Lines that each text has once are anchors, where their order agrees (patience sorting finds the longest such sequence);
between two anchors the shortest way from one text to the other is looked for (E. Myers, "An O(ND) difference algorithm
and its variations", Algorithmica 1, 1986). That takes as long as the texts are different, so its steps are counted,
not its seconds: the same texts give the same difference on every machine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .model import Budget

CONTEXT_LINES = 3

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Region:
    """Lines ``old_start:old_end`` of one text that stand as ``new_start:new_end`` in the other."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def changed_regions(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[Region]:
    """Return where two texts are different, from top to bottom.

    Parameters
    ----------
    old, new : sequence of str
        Lines.
    budget : Budget
        Its steps are counted down. Once they are used up, all between two anchors counts as different.
    """
    budget.steps -= len(old) + len(new)
    regions, i, j = [], 0, 0
    for old_at, new_at in [*_same_lines(old, new, budget), (len(old), len(new))]:
        if i < old_at or j < new_at:
            regions.append(Region(i, old_at, j, new_at))
        i, j = old_at + 1, new_at + 1
    return regions


def hunks(regions: Sequence[Region], context: int = CONTEXT_LINES) -> list[list[Region]]:
    """Return regions in groups: those with fewer lines between them than are shown around them belong together."""
    groups: list[list[Region]] = []
    for region in regions:
        if groups and region.old_start - groups[-1][-1].old_end <= 2 * context:
            groups[-1].append(region)
        else:
            groups.append([region])
    return groups


def _same_lines(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[Pair]:
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    old_end, new_end = len(old) - tail, len(new) - tail
    pairs = [(i, i) for i in range(head)]
    i = j = head
    for old_at, new_at in [*_anchors(old, new, Region(head, old_end, head, new_end)), (old_end, new_end)]:
        pairs += [(i + x, j + y) for x, y in _between(old[i:old_at], new[j:new_at], budget)]
        if old_at < old_end:
            pairs.append((old_at, new_at))
        i, j = old_at + 1, new_at + 1
    return pairs + [(old_end + k, new_end + k) for k in range(tail)]


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """Return how many lines are the same from the top."""
    most = min(len(old), len(new))
    return next((i for i in range(most) if old[i] != new[i]), most)


def _anchors(old: Sequence[str], new: Sequence[str], within: Region) -> list[Pair]:
    """Return the longest sequence of lines, each once in both texts, that have the same order in both."""
    before, after = old[within.old_start : within.old_end], new[within.new_start : within.new_end]
    counts_before, counts_after = Counter(before), Counter(after)
    place = {line: i for i, line in enumerate(before, within.old_start) if counts_before[line] == 1}
    unique = [
        (place[line], j) for j, line in enumerate(after, within.new_start) if counts_after[line] == 1 and line in place
    ]
    return _longest_increasing(unique)


def _longest_increasing(pairs: list[Pair]) -> list[Pair]:
    tops: list[int] = []
    at_top: list[int] = []
    below: list[int] = []
    for number, (i, _) in enumerate(pairs):
        pile = bisect_left(tops, i)
        below.append(at_top[pile - 1] if pile else -1)
        tops[pile : pile + 1], at_top[pile : pile + 1] = [i], [number]
    found, number = [], at_top[-1] if at_top else -1
    while number >= 0:
        found.append(pairs[number])
        number = below[number]
    return found[::-1]


def _between(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[Pair]:
    both = set(old) & set(new)
    before, after = ([i for i, line in enumerate(lines) if line in both] for lines in (old, new))
    pairs = _shortest([old[i] for i in before], [new[j] for j in after], budget)
    return [(before[x], after[y]) for x, y in pairs]


def _shortest(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[Pair]:
    """Return the same lines on the shortest way from one text to the other; none where it takes too many steps."""
    reach = {1: 0}
    trace: list[dict[int, int]] = []
    for distance in range(len(old) + len(new) + 1):
        trace.append({k: reach[k] for k in range(-distance - 1, distance + 2) if k in reach})
        budget.steps -= distance
        for k in range(-distance, distance + 1, 2):
            down = k == -distance or (k != distance and reach[k - 1] < reach[k + 1])
            x = start = reach[k + 1] if down else reach[k - 1] + 1
            while x < len(old) and x - k < len(new) and old[x] == new[x - k]:
                x += 1
            reach[k] = x
            budget.steps -= x - start + 1
            if x >= len(old) and x - k >= len(new):
                return _way_back(trace, x, k)
        if budget.steps < 0:
            break
    return []


def _way_back(trace: list[dict[int, int]], x: int, k: int) -> list[Pair]:
    pairs: list[Pair] = []
    for distance in range(len(trace) - 1, -1, -1):
        reach = trace[distance]
        down = k == -distance or (k != distance and reach[k - 1] < reach[k + 1])
        former = k + 1 if down else k - 1
        start = reach[former] + (not down)
        pairs += [(i, i - k) for i in range(x - 1, start - 1, -1)]
        x, k = reach[former], former
    return pairs[::-1]
