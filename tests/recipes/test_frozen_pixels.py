"""The same frames give the same pixels in every version: a hash that changes needs a reason, said in CHANGES."""

import hashlib
import platform

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

PLANES = ("FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE")
#: Of version 0.1, before its stack was worked on by several threads.
FROZEN = {
    ("NIR", "noise-model"): "8fa41fb2538f2744",
    ("VIS", "noise-model"): "1796e209e458a793",  # since the overscan level is measured for each row
    ("ACQ", "noise-model"): "e75c7c602cf56eed",
    ("NIR", "std"): "3c27f56e8f104bf0",
    ("NIR", "mad"): "7a95025c20b803d0",
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors may fuse a product and a sum")
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("case", FROZEN)
def test_pixels_are_those_of_the_first_version(tmp_path, case, workers):
    arm, scale = case
    made = simulate_darks(tmp_path / "raw", DarkSimulation(arm=arm, shape=(256, 300), frames=10, seed=7))
    settings = {"soxs-mdark": {"stacked-clipping-scale": scale}}
    product = soxs_mdark(made.sof, settings, tmp_path, workers=workers).produce_product()
    with fits.open(product.path) as hdus:
        pixels = b"".join(np.ascontiguousarray(hdus[name].data).tobytes() for name in PLANES)
    assert hashlib.sha256(pixels).hexdigest()[:16] == FROZEN[case]
