import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soxspipe.database import QualityDatabase
from soxspipe.simulation import DarkSimulation, simulate_darks

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0


class Watch:
    """The command in a process of its own."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        (folder / "quick.yaml").write_text("night: {rescan-seconds: 0.5}\n")
        options = ["--output=out", "--no-report", "--settings=quick.yaml"]
        command = [sys.executable, "-m", "soxspipe", "watch", "night", *options]
        self.lines = (folder / "lines.txt").open("a+")
        self.process = subprocess.Popen(
            command, stdout=self.lines, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )

    def stop(self, signum: int) -> int:
        self.process.send_signal(signum)
        code = self.process.wait(PATIENCE_S)
        self.lines.close()
        return code


def made(folder):
    return sorted(path.stem for path in (folder / "out").glob("*.fits") if not path.stem.endswith("_BPMAP"))


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_set_is_reduced_once_when_its_frames_are_there(tmp_path):
    night = tmp_path / "night"
    night.mkdir()
    starts = ("2026-03-01T10:00:00", "2026-03-01T11:00:00")
    frames = [
        sorted(
            simulate_darks(tmp_path / f"raw{i}", DarkSimulation(shape=(64, 64), frames=3, start=start)).sof.parent.glob(
                "SOXS*.fits"
            )
        )
        for i, start in enumerate(starts)
    ]
    names = ["20260301T100000_NIR_1_MDARK_300_0S_SOXS", "20260301T110000_NIR_1_MDARK_300_0S_SOXS"]
    (night / "damaged.fits").write_bytes(frames[0][0].read_bytes()[:9000])
    os.utime(night / "damaged.fits", (0, 0))
    watch = Watch(tmp_path)
    for frame in frames[0]:
        shutil.copy(frame, night)
    wait_until(lambda: made(tmp_path) == names[:1])
    # the last frame of the second set is still being written
    for frame in frames[1][:2]:
        shutil.copy(frame, night)
    data = frames[1][2].read_bytes()
    (night / frames[1][2].name).write_bytes(data[:9000])
    time.sleep(2.5)
    assert made(tmp_path) == names[:1]
    assert watch.stop(signal.SIGKILL) == -signal.SIGKILL
    first = (tmp_path / "out" / f"{names[0]}.fits").stat().st_mtime_ns
    watch = Watch(tmp_path)
    (night / frames[1][2].name).write_bytes(data)
    wait_until(lambda: made(tmp_path) == names)
    # a product enters the database after it was written
    wait_until(lambda: sorted(Path(one.path).stem for one in QualityDatabase(tmp_path / "out").products()) == names)
    time.sleep(1.0)
    assert watch.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    assert (tmp_path / "out" / f"{names[0]}.fits").stat().st_mtime_ns == first
    lines = (tmp_path / "lines.txt").read_text()
    assert [lines.count(f"{name}.fits\n") for name in names] == [1, 1]
    assert lines.count("left out") == lines.count("warning: night/damaged.fits: left out: truncated") == 2
    assert lines.count("error") == lines.count("error: terminated") == 1
    assert not list((tmp_path / "out").glob(".soxspipe*"))
