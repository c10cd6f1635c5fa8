"""The benchmark of accuracy runs, on little; what it measures of all its scenes is in the documentation."""

import numpy as np
import pytest

from benchmarks.accuracy.numbers import dark_current_pulls
from benchmarks.accuracy.run import reduce_scene
from benchmarks.accuracy.scenes import scenes


@pytest.mark.parametrize("name", ["NIR, N=5", "VIS, N=5, 1 h, bias of 10"])
def test_a_scene_is_reduced_and_measured(name):
    (scene,) = (scene for scene in scenes(quick=True) if scene.name == name)
    ours, stock = reduce_scene(scene, peer_python=None)
    assert (ours.by, stock.by) == ("soxspipe", "ccdproc")
    assert ours.pull_std == pytest.approx(1, abs=0.05)
    assert stock.pull_std > 1.1
    assert ours.qc
    assert not stock.qc


def test_the_dark_current_is_compared_with_the_truth():
    pulls = dark_current_pulls(seed=1, runs=3)
    assert np.unique(pulls).size == 3
    assert np.abs(pulls).max() < 4
