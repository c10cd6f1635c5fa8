"""The levels of the amplifiers of an image: steps between them, and those of odd and even columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .frame_stack import Regions
from .robust import finite_median, nan_medians

__all__ = ["AmplifierLevels", "spans_of_rows"]

#: Lines on each side of an edge, parts along it, and most pixels of a line in a part, that give the step between
#: amplifiers; fewest pixels of a part.
EDGE_LINES, EDGE_PARTS, EDGE_PIXELS, FEWEST_EDGE_PIXELS = 16, 16, 64, 16
#: Parts of an edge that agree differ by no more than so many times what the best half of them do.
EDGE_AGREE = 3.0


class AmplifierLevels:
    """Column parity and level of each amplifier, in rows of the image: one row for each span.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx), electron
        The image; NaN where there is no good pixel.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    column_parity : bool
        Whether odd and even columns have different levels.
    """

    def __init__(self, image: NDArray[np.float32], regions: Regions, column_parity: bool) -> None:
        self._image = image
        self.first_rows = np.array(sorted({rows.start for rows, _ in regions}))
        self._parity_e, self._step_e = np.zeros((2, len(self.first_rows), image.shape[1]), np.float32)
        if column_parity:
            for region in regions:
                self._parity_e[self._place(region)] = self._parity_of(region)
        self._measure_steps(regions)

    @property
    def total_e(self) -> NDArray[np.float32]:
        """Parity and level together, float32 of shape (spans, nx), electron."""
        return self._parity_e + self._step_e

    def corrected(self, rows: slice, columns: slice = slice(None)) -> NDArray[np.float32]:
        """Return a part of the image without parity and level."""
        span = spans_of_rows(self.first_rows, np.arange(len(self._image))[rows])
        part: NDArray[np.float32] = self._image[rows, columns] - self._parity_e[span, columns]
        part -= self._step_e[span, columns]
        return part

    def _place(self, region: tuple[slice, slice]) -> tuple[slice, slice]:
        """Return the spans and columns of a region."""
        first, last = np.searchsorted(self.first_rows, [region[0].start, region[0].stop])
        return slice(first, last), region[1]

    def _parity_of(self, region: tuple[slice, slice]) -> NDArray[np.float32]:
        """Return half the difference of odd and even columns, with the sign of each column."""
        block = self._image[region]
        even, odd = block[::4, : block.shape[1] // 2 * 2 : 2], block[::4, 1::2]
        # the median of each pair of columns first, so that a bad column does not count
        half = np.float32(0.5 * finite_median(nan_medians((odd - even).T)))
        return np.where(np.arange(block.shape[1]) % 2, half, -half)

    def _measure_steps(self, regions: Regions) -> None:
        """Bring every region to the level of the first, across shared edges."""
        placed: list[tuple[slice, slice]] = []
        waiting = list(regions)
        while waiting:
            steps = ((region, self._step_of(region, placed)) for region in waiting)
            # a region without a neighbour stays as it is
            region, step = next(((region, step) for region, step in steps if step is not None), (waiting[0], 0.0))
            self._step_e[self._place(region)] = step
            placed.append(region)
            waiting.remove(region)

    def _step_of(self, region: tuple[slice, slice], placed: list[tuple[slice, slice]]) -> float | None:
        """Return the level of a region above a neighbour that is placed; None without one."""
        for other in placed:
            for axis in (0, 1):
                if other[1 - axis] != region[1 - axis]:
                    continue
                before, after = sorted((other[axis], region[axis]), key=lambda span: span.start)
                if before.stop != after.start:
                    continue
                sides = (self._levels_at_edge(after.start, side, region[1 - axis], axis) for side in (before, after))
                rise = _step_across(*sides)
                return rise if after is region[axis] else -rise
        return None

    def _levels_at_edge(self, edge: int, side: slice, along: slice, axis: int) -> NDArray[np.float32]:
        """Return the level of one side of an edge in parts along it.

        Each is that of a Theil-Sen line through the medians of the nearest lines, of which a quarter may be bad.
        """
        n = min(EDGE_LINES, side.stop - side.start)
        lines = slice(edge, edge + n) if side.start == edge else slice(edge - n, edge)
        length = along.stop - along.start
        parts = int(np.clip(length // FEWEST_EDGE_PIXELS, 1, EDGE_PARTS))
        stride = max(1, length // parts // EDGE_PIXELS)
        pixels = slice(along.start, along.start + length // (parts * stride) * parts * stride, stride)
        strip = self.corrected(lines, pixels) if axis == 0 else self.corrected(pixels, lines).T
        medians = nan_medians(np.ascontiguousarray(strip).reshape(n, parts, -1)).T
        distance = np.arange(n, dtype=np.float32) + np.float32(0.5)
        if side.start != edge:
            distance = -distance[::-1]
        one, other = np.triu_indices(n, 1)
        slope = nan_medians((medians[:, other] - medians[:, one]) / (distance[other] - distance[one])) if n > 2 else 0.0
        return nan_medians(medians - np.multiply.outer(slope, distance).reshape(-1, n if n > 2 else 1))


def _step_across(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the step across an edge from the levels of both sides, in parts along it.

    Half of the parts decide, those that differ least. Where a half amplifier is dead, both halves agree as well: the
    brighter one counts.
    """
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return 0.0
    step, level = (after - before)[known], (after + before)[known]
    order = np.argsort(step)
    step, level = step[order], level[order]
    n = (step.size + 1) // 2
    width = step[n - 1 :] - step[: step.size - n + 1]
    halves = np.flatnonzero(width <= EDGE_AGREE * width.min())
    brightest = max(halves, key=lambda first: float(level[first : first + n].mean()))
    return float(step[brightest : brightest + n].mean())


def spans_of_rows(first_rows: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the span of each row, or a single one if all rows are in it."""
    span = np.searchsorted(first_rows, rows, side="right") - 1
    return span[:1] if span.size and span[0] == span[-1] else span
