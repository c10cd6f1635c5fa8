"""What the database takes from the files of a product, and what it refuses."""

import json
import random
import shutil

import pytest

from soxspipe.database import QualityDatabase, read_record
from soxspipe.exceptions import FrameError, InputError
from tests.fuzz.mutations import mutated

from .product_copies import copy_product


@pytest.fixture
def product(master, tmp_path):
    return copy_product(master, tmp_path, 1)


def qc_file(product):
    return product.with_name(f"{product.stem}_qc.json")


def test_a_renamed_product_keeps_its_name_in_the_database(product, tmp_path):
    before = read_record(product)
    renamed = tmp_path / "my dark.fits"
    shutil.move(qc_file(product), tmp_path / "my dark_qc.json")
    shutil.move(product, renamed)
    found = read_record(renamed)
    assert (found.path, found.file_name, found.read_mode) == (str(renamed), before.file_name, "1")


def test_a_qc_file_of_an_earlier_version_has_no_set_of_files(product):
    document = json.loads(qc_file(product).read_text())
    del document["sof"]
    qc_file(product).write_text(json.dumps(document))
    assert read_record(product).sof_name is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document.pop("qc"), "qc: Field required"),
        (lambda document: document.update(verdict="GOOD"), "verdict: "),
        (lambda document: document.update(product="other.fits"), "is of other.fits"),
        (lambda document: document["qc"][0].update(value="5"), r"qc\.0\.value"),
        (lambda document: document["qc"][0].update(range=[1]), r"qc\.0\.range"),
    ],
)
def test_a_qc_file_that_does_not_fit_is_refused(product, change, words):
    document = json.loads(qc_file(product).read_text())
    change(document)
    qc_file(product).write_text(json.dumps(document))
    with pytest.raises(FrameError, match=words) as raised:
        read_record(product)
    assert len(raised.value.faults) == 1


@pytest.mark.parametrize("content", ["", "[]", "null", "{" * 100000, '{"qc": NaN}'])
def test_a_file_that_is_no_qc_file_is_refused(product, content):
    qc_file(product).write_text(content)
    with pytest.raises(FrameError, match=r"_qc\.json: "):
        read_record(product)


def test_a_missing_or_endless_qc_file_is_refused(product):
    qc_file(product).write_bytes(b" " * 2**24 + b"{}")
    with pytest.raises(FrameError, match="more than 16777216 bytes"):
        read_record(product)
    qc_file(product).unlink()
    with pytest.raises(FrameError, match=r"_qc\.json: No such file or directory: expected the QC file next to"):
        read_record(product)


@pytest.mark.parametrize("keyword", ["DATAMD5", "DATE-OBS", "MJD-OBS", "ESO PRO REC1 ID", "ESO PRO DATANCOM"])
def test_a_product_without_a_keyword_is_refused(master, tmp_path, keyword):
    path = copy_product(master, tmp_path, 1, cards={keyword: None})
    with pytest.raises(FrameError, match=f"{keyword} is missing, expected a "):
        read_record(path)


def test_a_bad_pixel_map_and_a_raw_frame_are_no_products(master):
    with pytest.raises(FrameError, match=r"ESO PRO CATG is 'BP_MAP_HP_NIR', expected the main file"):
        read_record(master.with_name(f"{master.stem}_BPMAP.fits"))
    raw = next((master.parents[1] / "raw").glob("SOXS*.fits"))
    with pytest.raises(FrameError, match=r"ESO PRO CATG is missing, expected the main file"):
        read_record(raw)


def test_damaged_files_are_refused_in_one_line_or_stored_whole(product, target, tmp_path):
    randomly, database, n_stored, lines = random.Random(1), QualityDatabase(target), 0, []
    whole = {path: path.read_bytes() for path in (product, qc_file(product))}
    for number in range(150):
        for path, content in whole.items():
            path.write_bytes(content)
        damaged = (product, qc_file(product))[number % 2]
        damaged.write_bytes(mutated(whole[damaged], randomly))
        try:
            record = database.add(product)
        except InputError as error:
            lines += error.faults
        else:
            n_stored += 1
            assert database.products()[-1].id is not None
            assert record in database.products()
    assert n_stored > 10
    assert all(line.isprintable() for line in lines)
