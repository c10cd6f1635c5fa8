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

#: Rows in a band of the stock Combiner.
ROWS = 32
#: The ways to stack: averaged by the Combiner, clipped and stacked with the noise model given or measured, and by
#: ccdproc with its clip.
COMBINER, STACK_GIVEN, STACK_MEASURED = "stock Combiner", "clip_and_stack", "with the noise model measured"
TUNED_IN_MEMORY = "tuned ccdproc"


def main() -> None:
    """Measure the set in the arguments of this process."""
    from soxspipe.inputs.prepare import PreparedFrames
    from soxspipe.inputs.raw_frames import collect_frames
    from soxspipe.recipes import soxs_mdark
    from soxspipe.stacking import ArrayStack, clip_and_stack, measure_noise

    sof, rounds, further = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
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
    model = measure_noise(stack, unit="electron")
    ways: dict[str, Callable[[], object]] = {
        COMBINER: partial(_combiner, arrays),
        STACK_GIVEN: partial(clip_and_stack, stack, noise_model=model),
        STACK_MEASURED: partial(clip_and_stack, stack),
    }
    if "ccdproc" in further:
        ways[TUNED_IN_MEMORY] = partial(_ccdproc, arrays)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(rounds + 1):
        for way, work in ways.items():
            started = time.perf_counter()
            work()
            if round_:  # the first round imports modules and allocates memory
                seconds[way].append(time.perf_counter() - started)
    print(json.dumps({way: [1e9 * value / arrays.size for value in values] for way, values in seconds.items()}))


def _combiner(arrays: NDArray[np.float32]) -> None:
    """Average frames with the Combiner in bands of rows, without a clip."""
    from astropy.nddata import CCDData
    from ccdproc import Combiner

    for start in range(0, arrays.shape[1], ROWS):
        ccds = [CCDData(band, unit="electron") for band in arrays[:, start : start + ROWS]]
        Combiner(ccds, dtype=np.float32).average_combine()


def _ccdproc(arrays: NDArray[np.float32]) -> None:
    """Clip and average frames with `ccdproc.combine`."""
    from astropy.nddata import CCDData
    from ccdproc import combine

    ccds = [CCDData(array, unit="electron") for array in arrays]
    combine(ccds, dtype=np.float32, mem_limit=MEMORY, sigma_clip=True, **tuned_clip())


if __name__ == "__main__":
    main()
