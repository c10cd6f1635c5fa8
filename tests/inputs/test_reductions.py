from soxspipe.inputs.reductions import split_reductions


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
