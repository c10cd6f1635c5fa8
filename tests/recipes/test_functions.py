import numpy as np
import pytest

import soxspipe
from soxspipe.exceptions import InputError, SoxspipeError
from soxspipe.recipes import soxs_mbias, soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

CCD = {"arm": "VIS", "shape": (64, 200), "frames": 3, "detector_seed": 7}


def test_a_night_by_functions(tmp_path):
    biases = simulate_darks(tmp_path / "bias", DarkSimulation(kind="BIAS", **CCD))
    bias = soxspipe.mbias(biases.sof, output_dir=tmp_path)
    darks = []
    for seconds in (60.0, 600.0):
        raw = simulate_darks(tmp_path / f"{seconds}", DarkSimulation(exptime_s=seconds, seed=int(seconds), **CCD))
        darks.append(soxspipe.mdark([raw.sof, bias.path], {"mdark": {"minimum-frames": 3}}, tmp_path))
    rate = soxspipe.dark_current([dark.path for dark in darks], output_dir=tmp_path)
    assert [product.frame.header["ESO PRO REC1 ID"] for product in (bias, darks[0], rate)] == [
        "soxs_mbias", "soxs_mdark", "soxs_dark_current",
    ]  # fmt: skip
    frame = soxspipe.subtract_dark(raw.frames[0], darks[1].path)
    assert abs(np.median(frame.data)) < 1
    assert repr(rate).startswith(f"<RecipeProduct {rate.path}, ")
    assert len(repr(rate)) < 300


def test_a_notebook_shows_figures_verdict_and_report(tmp_path):
    raw = simulate_darks(tmp_path / "raw", DarkSimulation(shape=(64, 64), frames=3))
    product = soxspipe.mdark(raw.sof, output_dir=tmp_path)
    html = product._repr_html_()
    assert f"{product.path.name}</b>: {product.verdict}" in html
    assert "<td>RON RAW</td>" in html
    assert "report" not in html
    product.files["report"] = tmp_path / "a <report>.html"
    assert f'<a href="{(tmp_path / "a <report>.html").as_uri()}">report</a>' in product._repr_html_()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: soxs_mdark(5), "input_frames is 5, expected a path or a list of paths"),
        (lambda: soxs_mbias(None), "input_frames is None, expected a path or a list of paths"),
        (lambda: soxs_mdark("x", settings=3.2), "settings: found a float, expected a path or a mapping"),
        (lambda: soxs_mdark("x", output_dir=None), "output_dir is None, expected the path of a folder"),
        (lambda: soxs_mdark("x", workers="2"), "workers is '2', expected a whole number from 1, or None"),
        (lambda: soxspipe.mdark([5]), "input 1: 5 is not a path, expected text: give paths"),
        (lambda: soxspipe.prepare_frame(5), "input 1: 5 is not a path, expected text: give paths"),
        (lambda: soxspipe.mdark(np.zeros((1, 2))), "input 1: [0. 0.] is not a path, expected text: give paths"),
        (lambda: soxspipe.subtract_dark(np.zeros(2), "y"), "frame is [0. 0.], expected the path of a frame"),
        (lambda: soxspipe.subtract_dark("x", None), "dark is None, expected the path of a master dark"),
        (
            lambda: soxspipe.subtract_dark("x", "y", scale="no"),
            "SubtractDarkSettings: scale is 'no', expected on or off",
        ),
    ],
)
def test_wrong_types_are_refused_in_one_line(call, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SoxspipeError) as error:
        call()
    assert isinstance(error.value, InputError)
    assert str(error.value) == line


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'mdarks'"):
        soxspipe.mdarks  # noqa: B018
    assert {"mdark", "mbias", "dark_current", "subtract_dark", "prepare_frame", "read"} <= set(dir(soxspipe))
