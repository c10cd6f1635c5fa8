import multiprocessing
import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import ProductError, ProductExistsError
from soxspipe.frames.products import Product, data_md5, set_card


def hdus_of(value):
    return fits.HDUList([fits.PrimaryHDU(np.full((64, 64), value, np.float32))])


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("plain", "plain"),
        ("x" * 200, "x" * 200),
        ("naïve €", "na%C3%AFve %E2%82%AC"),
        ("a\nb", "a%0Ab"),
        (61100.41666666667, 61100.41666666667),
        (np.float32(0.5), 0.5),
        (True, True),
        (2**40, 2**40),
    ],
)
def test_cards_are_legal_whatever_the_value(value, stored):
    header = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_card(header, "ESO PRO REC1 RAW1 NAME", value, "a comment that is far too long for what is left of the card")
    again = fits.Header.fromstring(header.tostring())
    assert again["ESO PRO REC1 RAW1 NAME"] == stored
    assert all(len(line) == 80 for line in header.tostring(sep="\n", endcard=False, padding=False).split("\n"))
    assert ("LONGSTRN" in header) == (len(str(value)) > 100)


def test_files_appear_whole_and_together(tmp_path):
    with Product(tmp_path / "new" / "folder", "stem") as product:
        product.add_fits("main", ".fits", hdus_of(1))
        product.add_text("log", ".log", "lines\n")
        assert [path.name[0] for path in product.folder.iterdir()] == [".", "."]
        files = product.commit()
    assert files["main"] == tmp_path / "new" / "folder" / "stem.fits"
    assert sorted(path.name for path in product.folder.iterdir()) == ["stem.fits", "stem.log"]
    with fits.open(files["main"], checksum=True) as hdus:
        assert hdus[0].header["PIPEFILE"] == "stem.fits"
        assert hdus[0].header["DATAMD5"] == data_md5(hdus_of(1))


def _fail_after_writing(folder):
    with Product(folder, "stem") as product:
        product.add_fits("main", ".fits", hdus_of(1))
        raise KeyError("a fault while the product is made")


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        _fail_after_writing(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_exists(tmp_path):
    with Product(tmp_path, "stem") as product:
        product.add_fits("main", ".fits", hdus_of(1))
        product.commit()
    with pytest.raises(ProductExistsError):
        Product(tmp_path, "stem")
    with Product(tmp_path, "stem", overwrite=True) as product:
        product.add_fits("main", ".fits", hdus_of(2))
        product.commit()
    assert fits.getdata(tmp_path / "stem.fits")[0, 0] == 2


def test_stale_files_of_dead_processes_only_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    stale, alive, elsewhere, other = (
        tmp_path / name
        for name in (
            f".stem.fits.{host}.{dead.pid}.tmp",
            f".stem.fits.{host}.{os.getppid()}.tmp",
            f".stem.fits.not-{host}.{dead.pid}.tmp",
            ".of-somebody-else.tmp",
        )
    )
    for path in (stale, alive, elsewhere, other):
        path.write_bytes(b"")
    with Product(tmp_path, "stem"):
        pass
    assert [path.exists() for path in (stale, alive, elsewhere, other)] == [False, True, True, True]


def _write(folder, value, gate, results):
    with Product(folder, "stem") as product:
        product.add_fits("main", ".fits", hdus_of(value))
        product.add_text("log", ".log", str(value))
        gate.wait()
        try:
            product.commit()
            results.put((value, None))
        except ProductError as error:
            results.put((value, str(error)))


def test_of_two_runs_one_wins_whole(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(2), context.Queue()
    runs = [context.Process(target=_write, args=(tmp_path, value, gate, results)) for value in (1, 2)]
    for run in runs:
        run.start()
    said = dict(results.get(timeout=60) for _ in runs)
    for run in runs:
        run.join()
    (winner,) = [value for value, error in said.items() if error is None]
    (loser,) = [error for error in said.values() if error is not None]
    assert "another run wrote this product" in loser
    assert fits.getdata(tmp_path / "stem.fits")[0, 0] == winner
    assert (tmp_path / "stem.log").read_text() == str(winner)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stem.fits", "stem.log"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with Product(tmp_path / "new", "stem") as product:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ProductError, match="no space left on the device") as refusal:
            product.add_fits("main", ".fits", hdus_of(1))
    assert refusal.value.exit_code == 1
    assert str(tmp_path / "new") in str(refusal.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_signals_wait_while_files_get_their_names(tmp_path, monkeypatch, overwrite):
    """A run that is told to stop in the middle of it still leaves a whole product."""
    import signal
    from pathlib import Path

    replace, told = Path.replace, []

    def tell_to_stop(self, target):
        if not told:
            signal.raise_signal(signal.SIGINT)
        told.append(target.name)
        return replace(self, target)

    with Product(tmp_path, "stem", overwrite=overwrite) as product:
        product.add_fits("main", ".fits", hdus_of(1))
        product.add_text("log", ".log", "lines")
        product.add_text("qc", "_qc.json", "{}")
        monkeypatch.setattr(Path, "replace", tell_to_stop)
        with pytest.raises(KeyboardInterrupt):
            product.commit()
    assert told == ["stem.log", "stem_qc.json", "stem.fits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stem.fits", "stem.log", "stem_qc.json"]


def test_what_stands_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProductError, match="a file stands where the folder should be"):
        Product(tmp_path / "file" / "out", "stem")
    (tmp_path / "stem.fits").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ProductExistsError):
        Product(tmp_path, "stem")


def test_time_for_a_header_grows_with_its_cards_alone(monkeypatch):
    moved = []
    monkeypatch.setattr(fits.Header, "_updateindices", lambda *_: moved.append(1))
    header = fits.Header()
    for number in range(100):
        set_card(header, f"ESO INS A{number}", "x" * number)
    assert not moved
    assert header["ESO INS A99"] == "x" * 99
