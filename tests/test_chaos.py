"""Two hundred seeded rounds of random faults: a clear refusal or a correct product, and nothing left behind.

Without damage a correct product has the pixel planes of the undamaged set, bit for bit. A file with wrong bits is
refused with ``verify-checksums: strict``. With ``warn``, the default, a product of it names the file in its warnings,
or has the undamaged planes. With one wrong sample no other pixel moves by a hundredth of its error, and its own pixel
by no more than `MOST_ERRORS`: a larger outlier is clipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxspipe import __main__ as entry
from soxspipe.cli import command_line
from soxspipe.simulation import DarkSimulation, simulate_darks

ROUNDS, SEED = 200, 20260301
FRAMES, SIDE = 5, 64
#: A sample of five frames that is just kept is five of its sigmas off, and moves the mean by 5 / sqrt(5) errors.
MOST_ERRORS = 5 / FRAMES**0.5 + 0.3
PLANES = ("FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE")

Planes = dict[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    """How a run of the command line ended, and what it printed."""

    code: int
    printed: str


class Round:
    """One round: a new folder with copies of the frames, and runs of the command line in it."""

    def __init__(self, folder: Path, frames: Sequence[Path], rng: random.Random, duration_s: float) -> None:
        self.folder, self.rng, self.duration_s = folder, rng, duration_s
        self.output = folder / "out"
        self.frames = [folder / path.name for path in frames]
        folder.mkdir()
        for path in frames:
            shutil.copyfile(path, folder / path.name)
        self.list_frames(self.frames)
        (folder / "strict.yaml").write_text("input: {verify-checksums: strict}\n")
        self.runs: list[Run] = []

    def list_frames(self, frames: Sequence[Path]) -> None:
        (self.folder / "darks.sof").write_text("".join(f"{path.name} DARK_NIR\n" for path in frames))

    def start(self, *options: str, largest_file: int | None = None) -> tuple[int, Path]:
        """Fork a process that reduces the frames; the modules are imported already."""
        printed = self.folder / f"printed-{len(list(self.folder.glob('printed-*')))}"
        printed.touch()
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                for signum in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(signum, signal.SIG_DFL)
                descriptor = os.open(printed, os.O_WRONLY)
                for standard in (1, 2):
                    os.dup2(descriptor, standard)
                sys.stdout, sys.stderr = (os.fdopen(standard, "w", closefd=False) for standard in (1, 2))
                if largest_file is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
                sys.argv[1:] = [
                    "mdark",
                    str(self.folder / "darks.sof"),
                    f"--output={self.output}",
                    "--no-report",
                    *options,
                ]
                code = entry.run()
                sys.stdout.flush()
            finally:
                os._exit(code)
        return pid, printed

    def finish(self, pid: int, printed: Path) -> Run:
        run = Run(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed.read_text())
        self.runs.append(run)
        return run

    def reduce(self, *options: str, largest_file: int | None = None) -> Run:
        return self.finish(*self.start(*options, largest_file=largest_file))

    def product(self) -> Path | None:
        """Return the main file, where there is one; it and its companions must be whole and belong together."""
        paths = sorted(path for path in self.output.glob("*_SOXS.fits"))
        if not paths:
            return None
        (path,) = paths
        stem = path.with_suffix("")
        assert json.loads(stem.with_name(f"{stem.name}_qc.json").read_text())["product"] == path.name
        assert "written to" in stem.with_suffix(".log").read_text()
        with fits.open(path, checksum=True) as main, fits.open(f"{stem}_BPMAP.fits", checksum=True) as companion:
            assert main[0].header["ESO PRO DATANCOM"] == companion[0].header["ESO PRO DATANCOM"]
            np.testing.assert_array_equal(main["QUAL"].data, companion[0].data)
        return path

    def planes(self) -> Planes | None:
        path = self.product()
        return None if path is None else planes_of(path)

    def warned_of(self, path: Path) -> bool:
        """Return whether the list of warnings of the product names a file."""
        (document,) = self.output.glob("*_qc.json")
        return any(path.name in line for line in json.loads(document.read_text())["warnings"])

    def strictly(self) -> tuple[str, ...]:
        return (f"--settings={self.folder / 'strict.yaml'}",)


def planes_of(path: Path) -> Planes:
    with fits.open(path) as hdus:
        return {name: np.array(hdus[name].data) for name in PLANES}


def same(one: Planes | None, other: Planes) -> bool:
    return one is not None and all(np.array_equal(one[name], other[name], equal_nan=True) for name in PLANES)


@dataclass(frozen=True)
class Truth:
    """The planes of the undamaged frames: of all of them, and of all but the last."""

    all: Planes
    older: Planes


def killed(this: Round, truth: Truth) -> str:
    """A signal at a random moment, over an older product or not; then the same run again."""
    signum = this.rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
    older = this.rng.random() < 0.5
    if older:
        this.list_frames(this.frames[:-1])
        assert this.reduce("-q").code == 0
        this.list_frames(this.frames)
    child = this.start("--overwrite")
    # half of the signals come late, when files are written
    time.sleep(this.duration_s * this.rng.uniform(this.rng.choice((0, 0.6)), 1))
    os.kill(child[0], signum)
    run = this.finish(*child)
    assert run.code in (0, -signum, 128 + signum), run
    left = list(this.output.glob(".*.tmp"))
    assert signum == signal.SIGKILL or not left, (run, left)
    if not left:  # of a journal the next run makes a whole
        after = this.planes()
        assert after is None or same(after, truth.all) or (older and same(after, truth.older))
        assert after is not None or not older
    again = this.reduce("--overwrite")
    assert again.code == 0, again
    assert same(this.planes(), truth.all)
    return "finished" if run.code == 0 else f"{signum.name}, then made"


def two_at_once(this: Round, truth: Truth) -> str:
    """Two runs of the same product, one of which may be killed."""
    options = this.rng.choice(((), ("--overwrite",)))
    children = [this.start(*options), this.start(*options)]
    unlucky = this.rng.random() < 0.3
    if unlucky:
        time.sleep(this.rng.uniform(0, 2 * this.duration_s))
        os.kill(children[0][0], signal.SIGKILL)
    codes = [this.finish(*child).code for child in children]
    made = codes.count(0)
    assert made or unlucky, this.runs  # the unlucky one may have died of the very last it had to do
    assert options or unlucky or made == 1, this.runs
    assert all(code in (0, 1, 2, -signal.SIGKILL) for code in codes), this.runs
    assert same(this.planes(), truth.all)
    this.reduce("-q")  # cleans up after the unlucky one
    return f"{made} made"


def disk_full(this: Round, truth: Truth) -> str:
    """No file can grow beyond some size."""
    run = this.reduce(largest_file=this.rng.randrange(100_000))
    if run.code == 0:
        assert same(this.planes(), truth.all)
        return "made"
    assert run.code == 1, run
    assert run.printed.count("soxspipe: error: ") == 1, run
    assert str(this.output) in run.printed
    assert not this.output.exists() or not list(this.output.iterdir())
    assert this.reduce().code == 0
    assert same(this.planes(), truth.all)
    return "refused, then made"


def truncated(this: Round, truth: Truth) -> str:
    """A frame, packed or not, that ends too early."""
    path = this.rng.choice(this.frames)
    content = path.read_bytes()
    path.write_bytes(content[: this.rng.randrange(len(content))])
    return refused(this, path.name)


def duplicated(this: Round, truth: Truth) -> str:
    """A frame that is there twice: as it is, or with another start and name in its header."""
    path = this.rng.choice(this.frames)
    copy = this.folder / "copy.fits"
    shutil.copyfile(path, copy)
    if this.rng.random() < 0.5:
        with fits.open(copy, mode="update", do_not_scale_image_data=True) as hdus:
            hdus[0].header["MJD-OBS"] += 0.001
            hdus[0].header["ARCFILE"] = "copy"
            for keyword in ("CHECKSUM", "DATASUM"):
                del hdus[0].header[keyword]
    this.list_frames([*this.frames, copy])
    return refused(this, path.name, copy.name)


def swapped_header(this: Round, truth: Truth) -> str:
    """The header of one frame before the pixels of another."""
    one, other = this.rng.sample(this.frames, 2)
    contents = one.read_bytes(), other.read_bytes()
    pixels = len(contents[0]) - 2880 * -(-SIDE * SIDE * 2 // 2880)
    one.write_bytes(contents[0][:pixels] + contents[1][pixels:])
    if this.rng.random() < 0.5:  # the pixels of the other are there twice
        return refused(this, one.name, other.name)
    other.write_bytes(contents[1][:pixels] + contents[0][pixels:])
    if this.rng.random() < 0.5:
        return refused(this, one.name, other.name, options=this.strictly())
    assert this.reduce().code == 0
    assert this.warned_of(one)
    assert this.warned_of(other)
    planes = this.planes()
    assert planes is not None
    # every sample is there, in another order of time
    np.testing.assert_allclose(planes["FLUX"], truth.all["FLUX"], atol=0.01 * truth.all["ERRS"].min())
    return "made with a warning"


def flipped_pixel(this: Round, truth: Truth) -> str:
    """One wrong bit in one sample."""
    path = this.rng.choice(this.frames)
    content = bytearray(path.read_bytes())
    begin = len(content) - 2880 * -(-SIDE * SIDE * 2 // 2880)
    at = this.rng.randrange(SIDE * SIDE * 2)
    content[begin + at] ^= 1 << this.rng.randrange(8)
    path.write_bytes(bytes(content))
    if this.rng.random() < 0.3:
        return refused(this, path.name, options=this.strictly())
    assert this.reduce().code == 0, this.runs
    assert this.warned_of(path)
    planes = this.planes()
    assert planes is not None
    moved = np.abs(planes["FLUX"] - truth.all["FLUX"]) / truth.all["ERRS"]
    row, column = (place - 4 for place in divmod(at // 2, SIDE))  # a border of four pixels is trimmed
    if min(row, column) >= 0 and max(row, column) < SIDE - 8:
        assert moved[row, column] < MOST_ERRORS, (path, at)
    # the sample may be taken for a cosmic ray, whose neighbours are judged too
    moved[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = 0
    assert moved.max() < 0.01
    return "made with a warning"


def flipped_header(this: Round, truth: Truth) -> str:
    """One wrong bit in a header."""
    path = this.rng.choice(this.frames)
    content = bytearray(path.read_bytes())
    content[this.rng.randrange(content.index(b"END     "))] ^= 1 << this.rng.randrange(8)
    path.write_bytes(bytes(content))
    strict = this.rng.random() < 0.3
    run = this.reduce(*(this.strictly() if strict else ()))
    if run.code == 0:
        # a product that differs has a warning; without the card of the check sum, whose name has a wrong bit, none can
        assert same(this.planes(), truth.all) or (this.warned_of(path) and not strict), run
        return "made with a warning" if this.warned_of(path) else "made"
    return refused(this, path.name, run=run)


def refused(this: Round, *names: str, options: Sequence[str] = (), run: Run | None = None) -> str:
    """Check that the run names the files at fault, and wrote nothing."""
    run = run or this.reduce(*options)
    assert run.code == 2, run
    assert all(name in run.printed for name in names), run
    assert not this.output.exists() or not list(this.output.iterdir())
    return "refused"


KINDS: tuple[Callable[[Round, Truth], str], ...] = (
    killed, killed, two_at_once, disk_full, truncated, duplicated, swapped_header, flipped_pixel, flipped_header,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_chaos(tmp_path, capfd):
    made = simulate_darks(tmp_path / "raw", DarkSimulation(shape=(SIDE, SIDE), frames=FRAMES))
    rng = random.Random(SEED)

    def reference(name: str, frames: Sequence[Path]) -> Planes:
        this = Round(tmp_path / name, frames, rng, 0.0)
        # everything is imported here, and not in the forked processes
        assert command_line.main(["mdark", str(this.folder / "darks.sof"), f"--output={this.output}", "-q"]) == 0
        planes = this.planes()
        assert planes is not None
        return planes

    truth = Truth(reference("all", made.frames), reference("older", made.frames[:-1]))
    assert not same(truth.all, truth.older)
    durations_s = []
    for number in range(3):
        this, begin = Round(tmp_path / f"timed{number}", made.frames, rng, 0.0), time.monotonic()
        assert this.reduce().code == 0
        durations_s.append(time.monotonic() - begin)
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in made.frames]
    counts: Counter[str] = Counter()
    for number in range(ROUNDS):
        kind = KINDS[number % len(KINDS)]
        this = Round(tmp_path / f"round{number}", made.frames, random.Random(f"{SEED} {number}"), min(durations_s))
        outcome = kind(this, truth)
        counts[f"{kind.__name__}: {outcome}"] += 1
        for run in this.runs:
            assert "Traceback" not in run.printed
            assert "a fault of soxspipe" not in run.printed
        left = list(this.folder.rglob(".*"))
        assert not left, (kind, left)
        shutil.rmtree(this.folder)
    assert [hashlib.sha256(path.read_bytes()).digest() for path in made.frames] == digests
    assert sum(counts.values()) == ROUNDS
    with capfd.disabled(), contextlib.suppress(OSError):
        sys.stderr.write("\n" + "".join(f"{count:5} {words}\n" for words, count in sorted(counts.items())))
