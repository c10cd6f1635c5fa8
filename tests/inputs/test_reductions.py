import os

import pytest

from soxspipe.exceptions import InputError
from soxspipe.inputs.reductions import require_distinct, split_reductions


def test_each_set_and_folder_is_a_reduction_and_the_files_are_one_more(tmp_path):
    paths = ["a.sof", str(tmp_path), "x.fits", "B.SOF", "y.fits"]
    assert split_reductions(paths, share_products=False) == [
        ["a.sof"],
        [str(tmp_path)],
        ["x.fits", "y.fits"],
        ["B.SOF"],
    ]


def test_products_go_with_every_set(make_frame, tmp_path):
    bias = str(make_frame("bias.fits", {"ESO PRO CATG": "MASTER_BIAS_VIS"}))
    raw = str(make_frame("raw.fits"))
    assert split_reductions(["a.sof", bias, "b.sof"], share_products=True) == [["a.sof", bias], ["b.sof", bias]]
    assert split_reductions([raw, bias, "b.sof"], share_products=True) == [[raw, bias], ["b.sof", bias]]


def test_files_alone_are_one_reduction(make_frame):
    bias = str(make_frame("bias.fits", {"ESO PRO CATG": "MASTER_BIAS_VIS"}))
    raw = str(make_frame("raw.fits"))
    assert split_reductions([bias, raw], share_products=True) == [[bias, raw]]
    assert split_reductions([bias], share_products=True) == [[bias]]


def test_a_file_that_cannot_be_read_is_left_to_the_reduction(tmp_path):
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"")
    assert split_reductions(["a.sof", str(broken)], share_products=True) == [["a.sof"], [str(broken)]]


def test_an_input_that_is_given_twice_is_named_by_whichever_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.sof", "b.sof"):
        (tmp_path / name).touch()
    (tmp_path / "raw").mkdir()
    os.link("a.sof", "hard.sof")
    os.symlink("raw", "soft")
    require_distinct(["a.sof", "b.sof", "raw", "missing.sof", "missing.sof"])
    with pytest.raises(InputError) as raised:
        require_distinct(["a.sof", "raw", "./a.sof", "b.sof", "hard.sof", "soft/", "a.sof"])
    assert raised.value.faults == (
        "./a.sof: is the same file as a.sof: give it once",
        "hard.sof: is the same file as a.sof: give it once",
        "soft/: is the same file as raw: give it once",
        "a.sof: is the same file as a.sof: give it once",
    )
