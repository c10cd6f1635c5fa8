"""Upstream soxspipe, the older package of the same name, reads our masters as its own.

Its code runs in an environment of its own, where SOXSPIPE_UPSTREAM_PYTHON names the Python of one:
``python -m venv peer && peer/bin/pip install soxspipe==0.17.4 six unicodecsv``.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from soxspipe.cli import command_line
from soxspipe.fits_files.pixel_reader import read_planes
from soxspipe.simulation import DarkSimulation, simulate_darks

PYTHON = os.environ.get("SOXSPIPE_UPSTREAM_PYTHON", "")
READER = Path(__file__).with_name("upstream_reader.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="SOXSPIPE_UPSTREAM_PYTHON names no Python with upstream soxspipe"),
]


def read_by_upstream(folder, *arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"HOME": str(folder)}
    command = [PYTHON, "-I", str(READER), "soxs_default_settings.yaml", *arguments]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture
def reduced(tmp_path, monkeypatch):
    """Reduce simulated sets, and list their products with a raw dark, as a recipe of spectra gets them."""
    monkeypatch.chdir(tmp_path)

    def make(arm, **part):
        simulation = {"arm": arm, "frames": 3, **part}
        darks = simulate_darks("darks", DarkSimulation(**simulation))
        inputs, lists = [str(darks.sof)], ["dark.sof"]
        if arm != "NIR":
            biases = simulate_darks("biases", DarkSimulation(**simulation, kind="BIAS"))
            assert command_line.main(["mbias", str(biases.sof), "--products-sof=bias.sof", "-q"]) == 0
            inputs, lists = [*inputs, "bias.sof"], [*lists, "bias.sof"]
        assert command_line.main(["mdark", *inputs, "--products-sof=dark.sof", "-q"]) == 0
        lines = [line for name in lists for line in Path(name).read_text().splitlines() if "BP_MAP" not in line]
        lines.append(f"{darks.frames[0].absolute()} DARK_{arm}")
        Path("all.sof").write_text("\n".join(lines) + "\n")
        return "all.sof"

    return make


@pytest.mark.parametrize(
    ("arm", "shape", "categories"),
    [("NIR", (128, 128), ["CALIB", "MASTER_DARK_NIR"]),
     ("VIS", (128, 200), ["CALIB", "MASTER_BIAS_VIS", "MASTER_DARK_VIS"])],
)  # fmt: skip
def test_its_code_finds_reads_and_subtracts_our_masters(reduced, tmp_path, arm, shape, categories):
    found = read_by_upstream(tmp_path, reduced(arm, shape=shape))
    assert (found["arm"], found["types"], found["categories"]) == (arm, ["DARK"], categories)
    for kind, word in (("darks", "MDARK"), ("biases", "MBIAS"))[: len(categories) - 1]:
        (master,) = found[kind]
        (path,) = (path for path in tmp_path.glob(f"*_{word}_*.fits") if "BPMAP" not in path.name)
        planes = read_planes(path)
        assert master["shape"] == list(planes["FLUX"].shape)
        assert (master["unit"], master["error_type"]) == ("electron", "std")
        assert master["sum"] == pytest.approx(np.sum(planes["FLUX"], dtype=float))
        assert master["error_sum"] == pytest.approx(np.sum(planes["ERRS"], dtype=float))
        assert master["bad"] == np.count_nonzero(planes["QUAL"])
    assert found["left"]["median"] == pytest.approx(10, abs=1e-4)


@pytest.mark.parametrize(("arm", "noise_e"), [("NIR", 8.5), ("VIS", 4.5)])
def test_its_prepared_frames_have_the_pixels_of_our_master(reduced, tmp_path, arm, noise_e):
    """A raw dark that its code trims, turns and converts loses its hot pixels: orientation and unit agree."""
    left = read_by_upstream(tmp_path, reduced(arm), "prepare")["left"]
    assert left["width"] < noise_e
    assert left["in_bad"] < 10 * noise_e
