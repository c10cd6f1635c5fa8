"""Stack frames in memory on one core and print nanoseconds per sample as JSON: ``in_memory SOF ROUNDS [ccdproc]``."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .python_peers import MEMORY, tuned_clip

#: Rows that the stock Combiner gets at a time.
ROWS = 32
COMBINER, GIVEN, MEASURED, TUNED = "stock Combiner", "clip_and_stack", "with the noise model measured", "tuned ccdproc"


def main() -> None:
    """Measure what the arguments of this process say."""
    from soxspipe.inputs.prepare import PreparedFrames
    from soxspipe.inputs.raw_frames import collect_frames
    from soxspipe.recipes import soxs_mdark
    from soxspipe.stacking import ArrayStack, clip_and_stack, measure_noise

    sof, rounds, also = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore")
    frames = collect_frames(sof, soxs_mdark.kind)
    with PreparedFrames(frames) as prepared:
        ny, nx = prepared.shape
        arrays = np.empty((len(prepared.names), ny, nx), np.float32)
        for i, array in enumerate(arrays):
            prepared.read(i, 0, ny, array)
        fields = {name: getattr(prepared, name) for name in ("step_e", "regions", "column_parity")}
    stack = ArrayStack(tuple(arrays), (None,) * len(arrays), **fields)
    model = measure_noise(stack)
    todo: dict[str, Callable[[], object]] = {
        COMBINER: partial(_combiner, arrays),
        GIVEN: partial(clip_and_stack, stack, noise_model=model),
        MEASURED: partial(clip_and_stack, stack),
    }
    if "ccdproc" in also:
        todo[TUNED] = partial(_ccdproc, arrays)
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for round_ in range(rounds + 1):
        for name, work in todo.items():
            started = time.perf_counter()
            work()
            if round_:  # the first imports, and has its memory from the system
                seconds[name].append(time.perf_counter() - started)
    print(json.dumps({name: [1e9 * value / arrays.size for value in values] for name, values in seconds.items()}))


def _combiner(arrays: NDArray[np.float32]) -> None:
    """Average by the Combiner in bands of rows: no clip, the least that ccdproc can do."""
    from astropy.nddata import CCDData
    from ccdproc import Combiner

    for start in range(0, arrays.shape[1], ROWS):
        ccds = [CCDData(band, unit="electron") for band in arrays[:, start : start + ROWS]]
        Combiner(ccds, dtype=np.float32).average_combine()


def _ccdproc(arrays: NDArray[np.float32]) -> None:
    from astropy.nddata import CCDData
    from ccdproc import combine

    ccds = [CCDData(array, unit="electron") for array in arrays]
    combine(ccds, dtype=np.float32, mem_limit=MEMORY, sigma_clip=True, **tuned_clip())


if __name__ == "__main__":
    main()
