"""Masters of a detector with Gaussian noise, drawn in memory."""

import numpy as np

from soxspipe.comparison import MasterImages
from soxspipe.pixel_codes import PixelCode

READ_NOISE, EXPOSURE = 5.0, 100.0


def make_master(rng, signal=0.0, *, n=10, shape=(128, 128), regions=(), **values):
    """Draw the frames of a master and their mean; return both. Pixels more than 8 errors above 0 are hot."""
    frames = (np.broadcast_to(signal, shape) + rng.normal(0, READ_NOISE, (n, *shape))).astype(np.float32)
    errors = np.full(shape, READ_NOISE / np.sqrt(n), np.float32)
    mean = frames.mean(axis=0)
    hot = mean - np.median(mean) > 8 * errors
    master = MasterImages(
        **{
            "values_e": mean,
            "errors_e": errors,
            "noise_e": frames.std(axis=0, ddof=1),
            "count": np.full(shape, n, np.uint16),
            "codes": np.where(hot, PixelCode.HOT.value, 0),
            "n_frames": n,
            "exposure_s": EXPOSURE,
            "regions": regions,
            "read_noise_e": (READ_NOISE,) * max(len(regions), 1),
            **values,
        }
    )
    return master, frames
