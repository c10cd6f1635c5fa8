"""Reductions with stock Python packages, each a program: ``python python_peers.py NAME OUTPUT FRAME ...``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

SIGMA = 3.0
#: Memory limit of ccdproc, byte. It is large, because whole frames are fastest.
MEMORY = 64e9


def ccdproc_default(output: str, frames: list[str]) -> None:
    """Combine files with `ccdproc.combine`, clipped, with its default options."""
    import ccdproc

    ccdproc.combine(frames, output, unit="adu", sigma_clip=True)


def ccdproc_tuned(output: str, frames: list[str]) -> None:
    """Combine frames with `ccdproc.combine` as an expert calls it: float32, functions by name for bottleneck."""
    import ccdproc
    import numpy as np
    from astropy.io import fits
    from astropy.nddata import CCDData

    ccds = [CCDData(fits.getdata(frame).astype(np.float32), unit="adu") for frame in frames]
    ccdproc.combine(ccds, output, dtype=np.float32, mem_limit=MEMORY, sigma_clip=True, **tuned_clip())


def tuned_clip() -> dict[str, float | str]:
    """Return the clip of the tuned reduction: about the median, by the standard deviation."""
    return {
        "sigma_clip_low_thresh": SIGMA,
        "sigma_clip_high_thresh": SIGMA,
        "sigma_clip_func": "median",
        "sigma_clip_dev_func": "std",
    }


def astropy_clip(output: str, frames: list[str]) -> None:
    """Clip with `astropy.stats.sigma_clip` and write the mean, without errors and counts."""
    import numpy as np
    from astropy.io import fits
    from astropy.stats import sigma_clip

    shape = fits.getdata(frames[0]).shape
    stack = np.empty((len(frames), *shape), np.float32)
    for samples, frame in zip(stack, frames, strict=True):
        samples[:] = fits.getdata(frame)
    clipped = sigma_clip(stack, SIGMA, maxiters=5, cenfunc="median", stdfunc="std", axis=0, masked=False, copy=False)
    fits.writeto(output, np.nanmean(clipped, axis=0), overwrite=True)


PROGRAMS: dict[str, Callable[[str, list[str]], None]] = {
    "ccdproc_default": ccdproc_default,
    "ccdproc_tuned": ccdproc_tuned,
    "astropy_clip": astropy_clip,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PROGRAMS[sys.argv[1]](sys.argv[2], sys.argv[3:])
