"""The data dictionary in ESO's form: generated, and true for the headers of products."""

import re
import runpy
from pathlib import Path

import pytest
from astropy.io import fits

from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.recipes import soxs_dark_current, soxs_mbias, soxs_mdark, soxs_subtract_dark
from soxspipe.simulation import DarkSimulation, simulate_darks

PROGRAM = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "_ext" / "qc_dictionary.py"))
FILE, dictionary_text = PROGRAM["FILE"], PROGRAM["dictionary_text"]
TYPES = {"double": float, "integer": int, "logical": bool, "string": str}
FIELDS = ["Parameter Name", "Class", "Context", "Type", "Value Format", "Unit", "Comment Field", "Description"]
ENTRIES = {entry.name: entry for entry in PROGRAM["dictionary_entries"]()}


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    """Headers of a product of each kind, of sets with and without what a keyword needs."""
    folder = tmp_path_factory.mktemp("raw")

    def simulate(name, **part):
        return simulate_darks(folder / name, DarkSimulation(**{"shape": (96, 96), "frames": 5, **part})).sof

    out = {"output_dir": folder / "out"}
    bias = soxs_mbias(simulate("bias", arm="VIS", kind="BIAS", shape=(96, 200)), **out).produce_product()
    dark = soxs_mdark([simulate("vis", arm="VIS", shape=(96, 200)), bias.path], **out).produce_product()
    frame = next((folder / "vis").glob("SOXS*.fits"))
    subtracted = soxs_subtract_dark([frame, dark.path, bias.path], **out).produce_product()
    odd = simulate("odd", shape=(128, 128), frames=6, noisier=4.0, exptime_s=100.0)
    excluded = soxs_mdark(odd, {"soxs-mdark": {"vet-frames": "exclude"}}, **out).produce_product()
    parts = [{"exptime_s": 60.0 * n, "detector_seed": 1, "start": f"2026-03-01T1{n}:00:00"} for n in (1, 2, 3)]
    masters = [soxs_mdark(simulate(f"nir{n}", **part), **out).produce_product() for n, part in enumerate(parts)]
    rate = soxs_dark_current([master.path for master in masters], **out).produce_product()
    return [fits.getheader(product.path) for product in (bias, dark, subtracted, excluded, masters[0], rate)]


def test_the_file_of_the_documentation_is_up_to_date():
    assert FILE.read_text(encoding="ascii") == dictionary_text(), "run: python docs/_ext/qc_dictionary.py"


def test_each_entry_has_all_fields_in_eso_order():
    head, *records = dictionary_text().split("\n\n")
    assert head.startswith("Dictionary Name:   ESO-VLT-DIC.")
    assert len(records) == len(ENTRIES)
    for record in records:
        assert re.findall(r"^(\S.*?):", record, re.MULTILINE) == FIELDS
        assert all(line[18] == " " and not line.endswith(" ") for line in record.splitlines() if len(line) > 18)
    assert max(map(len, dictionary_text().splitlines())) <= 100


def test_every_qc_value_is_in_it():
    assert [f"QC {name.replace('{i}', 'i')}" for name in DEFINITIONS] == list(ENTRIES)[: len(DEFINITIONS)]


def test_every_keyword_of_a_product_is_as_the_dictionary_says(headers):
    seen = set()
    for header in headers:
        for card in header["ESO QC *"].cards:
            name = card.keyword.removeprefix("ESO ")
            entry = ENTRIES.get(name) or ENTRIES[re.sub(r"\d+$", "i", name)]
            assert type(card.value) is TYPES[entry.type], card
            assert card.comment.startswith(f"[{entry.unit}]" if entry.unit else ""), card
            assert header["ESO PRO REC1 ID"] in entry.recipes, card
            seen.add(entry.name)
    assert {"QC VET FRAME", "QC BIAS COMMON", "QC RON RAWi", "QC NONLIN NUM", "QC BIAS QUALITY"} <= seen
    assert len(seen) > 0.9 * len(ENTRIES), set(ENTRIES) - seen
