"""What a report does to a reduction, and what it must not do."""

import json
import logging

import pytest

import soxspipe.report
from soxspipe.execution.job import ReductionJob, reduce
from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks


@pytest.fixture
def raw(tmp_path):
    return str(simulate_darks(tmp_path / "raw", DarkSimulation(shape=(64, 64), frames=3)).sof)


def test_a_report_that_fails_is_a_warning_and_the_product_is_there(raw, tmp_path, monkeypatch, caplog):
    def fail(path):
        raise RuntimeError("no room\nfor it")

    monkeypatch.setattr(soxspipe.report, "make_report", fail)
    with caplog.at_level(logging.WARNING):
        product = soxs_mdark(raw, output_dir=tmp_path / "out").produce_product()
    line = rf"{product.path}: has no report (RuntimeError: no room\nfor it): run 'soxspipe report' on this file"
    assert product.warnings[-1] == line
    assert line in [record.getMessage() for record in caplog.records]
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".fits", ".fits", ".json", ".log"]
    assert soxs_mdark(raw, output_dir=tmp_path / "out").equal_product() == product.path


def test_a_product_without_a_report_counts_as_made(raw, tmp_path):
    product = soxs_mdark(raw, output_dir=tmp_path, report=False).produce_product()
    assert "report" not in product.files
    assert soxs_mdark(raw, output_dir=tmp_path).equal_product() == product.path


def test_a_new_product_without_a_report_takes_the_older_report_away(raw, tmp_path):
    report = soxs_mdark(raw, output_dir=tmp_path).produce_product().files["report"]
    assert report.exists()
    soxs_mdark(raw, output_dir=tmp_path, overwrite=True, report=False).produce_product()
    assert not report.exists()


@pytest.mark.parametrize("report", [True, False])
def test_a_job_makes_a_report_unless_it_is_told_not_to(report, raw, tmp_path):
    result = reduce(ReductionJob("soxspipe.recipes:soxs_mdark", [raw], None, str(tmp_path), report=report))
    assert result.errors == ()
    assert ("report" in result.files) is report


def test_the_record_has_the_figures_of_each_frame(products):
    document = json.loads(products["good"].files["qc"].read_text())
    frames = document["frames"]
    starts = [frame["start"] for frame in frames]
    assert starts[0] == "2026-03-01T10:00:00.000"
    assert starts == sorted(starts)
    values = {one["name"]: one["value"] for one in document["qc"]}
    levels = [frame["level_e"] for frame in frames]
    assert sum(levels) / len(levels) == pytest.approx(values["LEVEL"], rel=0.02)
    assert [frame["noise_e"] for frame in frames] == pytest.approx([values["RON RAW"]] * 5, rel=0.05)
    rejected = sum(frame["rejected"] + frame["rejected_beside"] for frame in frames)
    assert rejected == pytest.approx(values["REJECT FRAC"] * 5 * products["good"].frame.data.size)


def test_the_pulls_of_the_halves_have_the_width_of_pull_std(products):
    document = json.loads(products["good"].files["qc"].read_text())
    pulls = document["histograms"]["pulls"]
    width = (pulls["high"] - pulls["low"]) / len(pulls["counts"])
    middles = [pulls["low"] + (i + 0.5) * width for i in range(len(pulls["counts"]))]
    total = sum(pulls["counts"])
    mean = sum(n * x for n, x in zip(pulls["counts"], middles, strict=True)) / total
    std = (sum(n * (x - mean) ** 2 for n, x in zip(pulls["counts"], middles, strict=True)) / total) ** 0.5
    expected = next(one["value"] for one in document["qc"] if one["name"] == "PULL STD")
    assert std == pytest.approx(expected, abs=0.03)


def test_a_frame_that_was_left_out_has_its_verdict_but_no_level(tmp_path):
    simulation = DarkSimulation(shape=(128, 128), frames=6, seed=2, leak_e=60.0)
    raw = simulate_darks(tmp_path / "raw", simulation)
    product = soxs_mdark(str(raw.sof), {"soxs-mdark": {"vet-frames": "exclude"}}, tmp_path).produce_product()
    frames = json.loads(product.files["qc"].read_text())["frames"]
    assert [frame["excluded"] for frame in frames] == [False, True, False, False, False, False]
    assert [frame["level_e"] is None for frame in frames] == [False, True, False, False, False, False]
    assert "It was left out of the stack." in product.files["report"].read_text()
