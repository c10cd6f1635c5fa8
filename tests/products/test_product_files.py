import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import ProductError, ProductExistsError
from soxspipe.products.headers import ProductFile, big_endian_pixels, data_md5, image_hdu, set_card
from soxspipe.products.product_files import Product


def hdus_of(value):
    return fits.HDUList([fits.PrimaryHDU(np.full((64, 64), value, np.float32))])


def three_files(folder, value):
    """Return a product that is ready to be committed."""
    product = Product(folder, "stem", overwrite=True)
    product.add_fits([ProductFile("main", ".fits", "", hdus_of(value))])
    product.add_text("log", ".log", str(value))
    product.add_json("qc", "_qc.json", value)
    return product


def state_of(folder):
    """Return the value in each file of a folder, hidden ones too."""
    return {
        path.name: fits.getdata(path)[0, 0].item() if path.suffix == ".fits" else json.loads(path.read_text())
        for path in folder.iterdir()
        if "journal" not in path.name and ".fits." not in path.name
    }


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
        product.add_fits([ProductFile("main", ".fits", "", hdus_of(1))])
        product.add_text("log", ".log", "lines\n")
        assert [path.name[0] for path in product.folder.iterdir()] == [".", "."]
        files = product.commit()
    assert files["main"] == tmp_path / "new" / "folder" / "stem.fits"
    assert sorted(path.name for path in product.folder.iterdir()) == ["stem.fits", "stem.log"]
    with fits.open(files["main"], checksum=True) as hdus:
        assert hdus[0].header["PIPEFILE"] == "stem.fits"
        stored = np.full((64, 64), 1, ">f4").tobytes() + bytes(-64 * 64 * 4 % 2880)
        assert hdus[0].header["DATAMD5"] == hashlib.md5(stored).hexdigest()


def test_what_stands_in_the_file_and_the_pixels_that_it_came_from():
    """What is digested are the bytes of the file; afterwards the pixels are as they were."""
    planes = {"FLUX": np.float32([[1.5, np.nan]]), "QUAL": np.int32([[2, -3]]), "NCOMBINE": np.uint16([[0, 65535]])}
    before = {name: plane.copy() for name, plane in planes.items()}
    planes["ERRS"] = np.full((1, 2), 0.25, np.float32)
    before["ERRS"] = planes["ERRS"].copy()
    planes["ERRS"].flags.writeable = False
    hdus = fits.HDUList([image_hdu(name, plane) for name, plane in planes.items()])
    same = fits.PrimaryHDU(planes["QUAL"])
    with big_endian_pixels([*hdus, same]):
        digest, file = data_md5(hdus), io.BytesIO()
        hdus.writeto(file, checksum=True)
        assert same.data.tobytes() == hdus["QUAL"].data.tobytes() == before["QUAL"].astype(">i4").tobytes()
    for name, plane in planes.items():
        np.testing.assert_array_equal(plane, before[name])
        np.testing.assert_array_equal(hdus[name].data, before[name])
        assert plane.dtype == hdus[name].data.dtype == before[name].dtype
    units = b""
    file.seek(0)
    with fits.open(file, checksum=True) as again:
        for hdu in again:
            np.testing.assert_array_equal(hdu.data, before[hdu.name])
            assert hdu.data.dtype.newbyteorder("=") == before[hdu.name].dtype
            info = hdu.fileinfo()
            units += file.getvalue()[info["datLoc"] :][: info["datSpan"]]
    assert digest == hashlib.md5(units).hexdigest()


@pytest.mark.parametrize("part", [np.s_[:1], np.s_[1:], np.s_[:, 1:], np.s_[:]])
def test_planes_that_share_some_of_their_pixels(part):
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    before = pixels.copy()
    hdus = [fits.PrimaryHDU(pixels), fits.ImageHDU(pixels[part]), fits.ImageHDU(pixels)]
    with big_endian_pixels(hdus):
        for hdu, expected in zip(hdus, (before, before[part], before), strict=True):
            np.testing.assert_array_equal(np.frombuffer(hdu.data.tobytes(), ">f4"), expected.ravel())
    np.testing.assert_array_equal(pixels, before)


def test_a_stop_is_not_lost_where_it_leaves_a_header_that_takes_no_pixels(monkeypatch):
    def refuse(*_, **__):
        raise ValueError("half done")

    def stop():
        with big_endian_pixels(hdus):
            assert pixels[0, 0] != 1
            monkeypatch.setattr(fits.Header, "set", refuse)
            raise KeyboardInterrupt

    hdus = hdus_of(1)
    pixels = hdus[0].data
    with pytest.raises(KeyboardInterrupt):
        stop()
    np.testing.assert_array_equal(pixels, np.full((64, 64), 1, np.float32))
    with pytest.raises(ValueError, match="half done"):
        hdus[0].data = pixels


def _fail_after_writing(folder):
    with Product(folder, "stem") as product:
        product.add_fits([ProductFile("main", ".fits", "", hdus_of(1))])
        raise KeyError("a fault while the product is made")


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        _fail_after_writing(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_stop_while_the_folder_is_made_leaves_none(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Product, "_tidy", stop)
    with pytest.raises(KeyboardInterrupt):
        Product(tmp_path / "a" / "b", "stem")
    assert list(tmp_path.iterdir()) == []


def test_exists(tmp_path):
    with Product(tmp_path, "stem") as product:
        product.add_fits([ProductFile("main", ".fits", "", hdus_of(1))])
        product.commit()
    with pytest.raises(ProductExistsError):
        Product(tmp_path, "stem")
    with Product(tmp_path, "stem", overwrite=True) as product:
        product.add_fits([ProductFile("main", ".fits", "", hdus_of(2))])
        product.commit()
    assert fits.getdata(tmp_path / "stem.fits")[0, 0] == 2


def test_stale_files_of_dead_processes_only_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    stale, alive, elsewhere, other = (
        tmp_path / name
        for name in (
            f".stem.fits.{host}.{dead.pid}-1.tmp",
            f".stem.fits.{host}.{os.getppid()}-1.tmp",
            f".stem.fits.not-{host}.{dead.pid}-1.tmp",
            ".of-somebody-else.tmp",
        )
    )
    for path in (stale, alive, elsewhere, other):
        path.write_bytes(b"")
    with Product(tmp_path, "stem"):
        pass
    assert [path.exists() for path in (stale, alive, elsewhere, other)] == [False, True, True, True]


@pytest.mark.parametrize("overwrite", [False, True])
def test_signals_wait_while_files_get_their_names(tmp_path, monkeypatch, overwrite):
    """A run that is told to stop in the middle of it still leaves a whole product."""
    import signal

    replace, told = Path.replace, []

    def tell_to_stop(self, target):
        if not told:
            signal.raise_signal(signal.SIGINT)
        told.append(target.name)
        return replace(self, target)

    with Product(tmp_path, "stem", overwrite=overwrite) as product:
        product.add_fits([ProductFile("main", ".fits", "", hdus_of(1))])
        product.add_text("log", ".log", "lines")
        product.add_text("qc", "_qc.json", "{}")
        monkeypatch.setattr(Path, "replace", tell_to_stop)
        with pytest.raises(KeyboardInterrupt):
            product.commit()
    assert told == ["stem.log", "stem_qc.json", "stem.fits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stem.fits", "stem.log", "stem_qc.json"]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_rename_that_fails_is_undone_while_no_older_file_is_touched(tmp_path, monkeypatch, failing):
    replace, done = Path.replace, []

    def full(self, target):
        if len(done) == failing and ".tmp" not in target.name:
            raise OSError(28, "No space left on device")
        done.append(target.name)
        return replace(self, target)

    with three_files(tmp_path / "new", 1) as product:
        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(ProductError, match="no space left on the device: nothing was written") as refusal:
            product.commit()
    assert str(tmp_path / "new") in str(refusal.value)
    assert not (tmp_path / "new").exists()


def test_a_rename_that_fails_behind_an_older_file_is_finished_by_the_next_run(tmp_path, monkeypatch):
    with three_files(tmp_path, 1) as product:
        product.commit()
    replace = Path.replace

    def broken(self, target):
        if target.suffix == ".fits":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    with three_files(tmp_path, 2) as product, monkeypatch.context() as patch:
        patch.setattr(Path, "replace", broken)
        with pytest.raises(ProductError, match="Input/output error: the product is incomplete: the next run"):
            product.commit()
    with pytest.raises(ProductExistsError):
        Product(tmp_path, "stem")
    assert state_of(tmp_path) == {"stem.fits": 2, "stem.log": 2, "stem_qc.json": 2}


#: Writes a product of twos, killed at each step of its commit, where asked over one of ones; reports the states.
KILLED = """
import os, signal, sys
from pathlib import Path
from soxspipe.products.product_files import Product
from tests.products.test_product_files import state_of, three_files

def run(folder, value, kill_at):
    def step(call):
        def instead(*arguments, **options):
            if (count := next(steps)) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return instead
    with three_files(folder, value) as product:
        steps = iter(range(10**6))
        for name in ("replace", "unlink", "fsync"):
            setattr(os, name, step(getattr(os, name)))
        product.commit()

for kill_at in range(20):
    folder = Path(sys.argv[1], str(kill_at))
    if int(sys.argv[2]):
        with three_files(folder, 1) as product:
            product.commit()
    if (child := os.fork()) == 0:
        run(folder, 2, kill_at)
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    before = state_of(folder)
    with Product(folder, "another"):
        pass
    print(killed, before, state_of(folder), [path.name for path in folder.glob(".*")], sep=";")
    if not killed:
        break
"""


@pytest.mark.parametrize("older", [False, True])
def test_killed_at_any_step_of_the_commit_the_set_is_old_or_new_after_the_next_run(tmp_path, older):
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(int(older))],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    steps = [tuple(map(eval, line.split(";"))) for line in run.stdout.splitlines()]
    old = dict.fromkeys(["stem.fits", "stem.log", "stem_qc.json"], 1) if older else {}
    new = dict.fromkeys(["stem.fits", "stem.log", "stem_qc.json"], 2)
    assert [killed for killed, *_ in steps] == [True] * (len(steps) - 1) + [False]
    assert all(after in (old, new) and not hidden for _, _, after, hidden in steps)
    # both states between the three renames were among them
    seen = [{name: value for name, value in before.items() if name[0] != "."} for _, before, *_ in steps]
    assert sum(state not in (old, new) for state in seen) == 2


@pytest.mark.parametrize("content", ["", '["stem.log", "stem', '["../stem.log"]', "[" * 100_000, '{"stem": 1}', "[1]"])
def test_a_journal_that_is_not_whole_is_removed_with_its_files(tmp_path, content):
    with three_files(tmp_path, 1) as product:
        product.commit()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    writer = f"{socket.gethostname()}.{dead.pid}-1"
    (tmp_path / f".stem.journal.{writer}.tmp").write_text(content)
    (tmp_path / f".stem.log.{writer}.tmp").write_text("2")
    with Product(tmp_path, "another"):
        pass
    assert state_of(tmp_path) == {"stem.fits": 1, "stem.log": 1, "stem_qc.json": 1}


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs the names of open files")
def test_what_reaches_the_disk_in_which_order(tmp_path, monkeypatch):
    """Files, journal and folder are synced before the first rename, the folder again before the journal goes."""
    done = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def sync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(("sync", path.name.partition(".journal")[1] or "-"))
        if ".fits." in path.name:  # whole by then
            assert fits.getval(path, "DATAMD5").strip("0")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", lambda *a: (done.append(("rename", a[1].name)), replace(*a)))
    monkeypatch.setattr(Path, "unlink", lambda *a: (done.append(("unlink", "")), unlink(*a)))
    with three_files(tmp_path, 1) as product:
        product.commit()
    names = ["stem.log", "stem_qc.json", "stem.fits"]
    files = [("sync", "-")] * 3
    renames = [("rename", name) for name in names]
    assert done == [*files, ("sync", ".journal"), ("sync", "-"), *renames, ("sync", "-"), ("unlink", "")]


def test_a_system_that_takes_no_advice_writes_the_same(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    with three_files(tmp_path / "refused", 1) as product:
        product.commit()
    monkeypatch.delattr(os, "posix_fadvise")
    with three_files(tmp_path / "unknown", 1) as product:
        product.commit()
    assert state_of(tmp_path / "refused") == state_of(tmp_path / "unknown")
    with fits.open(tmp_path / "unknown" / "stem.fits", checksum=True) as hdus:
        assert hdus[0].header["DATAMD5"].strip("0")


def test_folders_that_cannot_be_synced_go_without(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if os.path.isdir(f"/dev/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with three_files(tmp_path / "new", 1) as product:
        product.commit()
    assert state_of(tmp_path / "new") == {"stem.fits": 1, "stem.log": 1, "stem_qc.json": 1}


def test_without_locks_the_process_tells_who_is_alive(tmp_path, monkeypatch):
    """A journal of a living process is left to it, that of a dead one is finished."""

    def no_locks(*_arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("soxspipe.products.product_files.fcntl.flock", no_locks)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid, stem in ((dead.pid, "dead"), (os.getppid(), "alive")):
        writer = f"{socket.gethostname()}.{pid}-1"
        (tmp_path / f".{stem}.journal.{writer}.tmp").write_text(json.dumps([f"{stem}.log"]))
        (tmp_path / f".{stem}.log.{writer}.tmp").write_text("1")
    with Product(tmp_path, "another"):
        pass
    assert (tmp_path / "dead.log").exists()
    assert sorted(path.name.split(".")[1] for path in tmp_path.glob(".*")) == ["alive", "alive"]


def test_two_writers_in_one_process_do_not_share_files(tmp_path):
    first, second = (Product(tmp_path, "stem") for _ in range(2))
    for product, value in ((first, 1), (second, 2)):
        product.add_fits([ProductFile("main", ".fits", "", hdus_of(value))])
        product.add_json("qc", "_qc.json", value)
    with first, second:
        first.commit()
        with pytest.raises(ProductError, match="another run wrote this product in the meantime"):
            second.commit()
    assert state_of(tmp_path) == {"stem.fits": 1, "stem_qc.json": 1}


def test_any_file_of_an_older_product_is_one(tmp_path):
    (tmp_path / "stem.log").write_text("1")
    with pytest.raises(ProductExistsError, match=r"stem\.log: the product exists already and was left alone"):
        Product(tmp_path, "stem")
    with three_files(tmp_path, 2) as product:
        product.commit()
    assert state_of(tmp_path) == {"stem.fits": 2, "stem.log": 2, "stem_qc.json": 2}


def test_what_stands_in_the_way(tmp_path):
    (tmp_path / "folder.fits").mkdir()
    with pytest.raises(ProductExistsError, match=r"folder\.fits: is a folder, expected room for a file"):
        Product(tmp_path, "folder", overwrite=True)
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


@pytest.mark.parametrize(
    "content", [None, "[5]", '["5\\u0000"]', '["5/../x"]', '["x"]', "{}", "5", "[" * 100_000, "\xff"]
)
def test_what_is_no_journal_is_left_behind(tmp_path, content):
    journal = tmp_path / f".5.journal.{socket.gethostname()}.999999999-1.tmp"
    if content is None:
        os.mkfifo(journal)
    else:
        journal.write_text(content, encoding="latin-1")
    with Product(tmp_path, "stem"):
        assert not journal.exists()
