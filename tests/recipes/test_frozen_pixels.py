"""The same frames give the same pixels in every version: a hash that changes needs a reason, said in CHANGES."""

import hashlib
import platform
import sys

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

PLANES = ("FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE")
#: Of version 0.1, before its stack was worked on by several threads.
FROZEN = {
    ("NIR", "noise-model"): "8fa41fb2538f2744",
    ("VIS", "noise-model"): "f0a9ddbdf56d5a9f",
    ("ACQ", "noise-model"): "e75c7c602cf56eed",
    ("NIR", "std"): "3c27f56e8f104bf0",
    ("NIR", "mad"): "7a95025c20b803d0",
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors may fuse a product and a sum")
@pytest.mark.parametrize(
    ("workers", "thread_frames"), [(1, 10), (3, 10), (3, 9)], ids=["alone", "threads", "processes"]
)
@pytest.mark.parametrize("case", FROZEN)
def test_pixels_are_those_of_the_first_version(tmp_path, monkeypatch, case, workers, thread_frames):
    arm, scale = case
    monkeypatch.setattr(sys.modules["soxspipe.stacking.clip_and_stack"], "THREAD_FRAMES", thread_frames)
    made = simulate_darks(tmp_path / "raw", DarkSimulation(arm=arm, shape=(256, 300), frames=10, seed=7))
    settings = {"soxs-mdark": {"stacked-clipping-scale": scale}}
    product = soxs_mdark(made.sof, settings, tmp_path, workers=workers).produce_product()
    with fits.open(product.path) as hdus:
        pixels = b"".join(np.ascontiguousarray(hdus[name].data).tobytes() for name in PLANES)
    assert hashlib.sha256(pixels).hexdigest()[:16] == FROZEN[case]
