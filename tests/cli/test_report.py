import json

import pytest

from soxspipe.cli.command_line import main
from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return simulate_darks(tmp_path_factory.mktemp("raw"), DarkSimulation(shape=(64, 64), frames=3))


@pytest.fixture
def product(raw, tmp_path):
    return soxs_mdark(raw.sof, output_dir=tmp_path).produce_product().path


def test_reports_are_made_again_and_their_paths_printed(product, capsys):
    assert main(["report", str(product)]) == 0
    report = product.with_suffix(".html")
    assert capsys.readouterr().out == f"{report}\n"
    assert "<title>" in report.read_text()


def test_a_product_that_cannot_be_read_does_not_stop_the_others(product, capsys):
    assert main(["report", "missing.fits", str(product), "--json"]) == 1
    output = capsys.readouterr()
    missing, made = json.loads(output.out)
    assert missing == {"product": "missing.fits", "report": None, "errors": missing["errors"]}
    assert "missing.fits: cannot be read" in missing["errors"][0]
    assert made == {"product": str(product), "report": str(product.with_suffix(".html")), "errors": []}
    assert "missing.fits: cannot be read" in output.err


def test_what_is_no_product_is_an_error_of_the_input(raw, capsys):
    assert main(["report", str(raw.frames[0])]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "is not a product of soxspipe" in output.err


@pytest.mark.parametrize("arguments", [[], ["--no-report"]])
def test_a_reduction_makes_a_report_unless_told_not_to(arguments, raw, tmp_path, without_reports, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soxspipe.recipes.recipe._add_report", lambda product: "a report was asked for")
        assert main(["mdark", str(raw.sof), f"--output={tmp_path}", *arguments]) == 0
    assert ("a report was asked for" in capsys.readouterr().err) is not bool(arguments)
