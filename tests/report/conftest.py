import pytest

from soxspipe.recipes import recipe as steps
from soxspipe.recipes import soxs_dark_current, soxs_mbias, soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

#: Before tests of other packages are without reports.
ADD_REPORT = steps._add_report


def reduced(folder, recipe=soxs_mdark, settings=None, **simulation):
    frames = simulate_darks(folder / "raw", DarkSimulation(**{"shape": (128, 128), **simulation}))
    return recipe(str(frames.sof), settings=settings, output_dir=folder / "reduced").produce_product()


@pytest.fixture(autouse=True, scope="package")
def with_reports(without_reports):
    """Make products with their reports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_add_report", ADD_REPORT)
        yield


@pytest.fixture(scope="package")
def products(with_reports, tmp_path_factory):
    """Return products of all recipes with their reports, by name."""
    folder = tmp_path_factory.mktemp("products")
    made = {
        "good": reduced(folder / "good", frames=5, seed=1),
        "leak": reduced(folder / "leak", frames=5, seed=2, leak_e=60.0, bad_columns=2),
        "out": reduced(folder / "out", settings={"quality": {"RON RAW": [None, 2.0]}}, frames=3, seed=3),
        "bias": reduced(folder / "bias", soxs_mbias, arm="VIS", kind="BIAS", shape=(200, 200), frames=5, seed=4),
    }
    masters = [
        reduced(folder / f"{exptime}", exptime_s=float(exptime), frames=4, seed=exptime).path
        for exptime in (30, 100, 300)
    ]
    made["rate"] = soxs_dark_current(masters, output_dir=folder / "rate").produce_product()
    return made
