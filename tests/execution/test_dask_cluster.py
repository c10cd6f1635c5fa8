import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from soxspipe.cli.command_line import main
from soxspipe.exceptions import SoxspipeError
from soxspipe.execution import dask_cluster
from soxspipe.execution.dask_cluster import DaskCluster
from soxspipe.execution.job import ReductionJob
from soxspipe.execution.run_jobs import run_jobs
from soxspipe.simulation import DarkSimulation, simulate_darks

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0
MDARK = "soxspipe.recipes:soxs_mdark"


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.05)
    return value


class Cluster:
    """A scheduler and workers as the commands of Dask start them, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen] = []
        file = folder / "scheduler.json"
        self.scheduler = self.start(
            "scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", f"--scheduler-file={file}"
        )
        self.address = (
            wait_for(lambda: file.exists() and file.read_text(), "scheduler")
            and json.loads(file.read_text())["address"]
        )

    def start(self, *words: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": ""}
        command = [sys.executable, "-m", "dask", *words]
        with (self.folder / "dask.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)

    def add_worker(self) -> subprocess.Popen:
        words = ("--nthreads=1", "--no-dashboard", "--no-nanny", "--host=127.0.0.1", "--death-timeout=20")
        worker = self.start("worker", self.address, *words, f"--local-directory={self.folder}")
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    folder = tmp_path / "dask"
    folder.mkdir()
    made = Cluster(folder)
    yield made
    made.close()


@pytest.fixture
def sets(tmp_path):
    """Make sets of files of small darks, each with a product name of its own."""

    def make(number):
        files = []
        for minute in range(number):
            exposure = DarkSimulation(
                shape=(64, 64), frames=3, start=f"2026-03-01T{10 + minute // 60}:{minute % 60:02}:00"
            )
            files.append(str(simulate_darks(tmp_path / f"raw{minute}", exposure).sof))
        return files

    return make


def products(folder):
    return [path for path in Path(folder).glob("*.fits") if not path.stem.endswith("_BPMAP")]


def test_a_batch_on_a_cluster_makes_the_products_of_one_here(cluster, sets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cluster.add_worker()
    files = [os.path.relpath(path) for path in sets(3)]
    assert main(["mdark", *files, "--output=there", f"--scheduler={cluster.address}"]) == 0
    assert capsys.readouterr().out.count(".fits") == 3
    assert main(["mdark", *files, "--output=here", "--workers=1"]) == 0
    for path in products("here"):
        planes = [
            json.loads((path.parent.parent / f / f"{path.stem}_qc.json").read_text())["qc"] for f in ("here", "there")
        ]
        assert planes[0] == planes[1]


def test_a_worker_that_dies_midway_loses_no_product_and_makes_none_twice(cluster, sets, tmp_path):
    victim = cluster.add_worker()
    cluster.add_worker()
    jobs = [ReductionJob(MDARK, [path], output_dir=str(tmp_path / "out")) for path in sets(12)]
    results = []
    for result in run_jobs(jobs, 2, executor=DaskCluster(cluster.address)):
        results.append(result)
        if len(results) == 3:
            victim.send_signal(signal.SIGKILL)
    assert [result.errors for result in results] == [()] * 12
    assert sorted(result.product for result in results) == sorted(map(str, products(tmp_path / "out")))
    assert not list((tmp_path / "out").glob(".soxspipe*"))


def test_a_cluster_without_workers_is_named_and_begun_jobs_are_known(cluster, sets, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dask_cluster, "LOOK_S", 0.2)
    victim = cluster.add_worker()
    jobs = [ReductionJob(MDARK, [path], output_dir=str(tmp_path / "out")) for path in sets(3)]
    seen, events = [], []
    results = run_jobs(
        jobs, 2, executor=DaskCluster(cluster.address), watch=lambda number, end: events.append((number, end is None))
    )
    for result in results:
        seen.append(result)
        if len(seen) == 1:
            victim.kill()
            victim.wait()
            time.sleep(0.5)
            threading.Timer(3.0, cluster.add_worker).start()
    assert [result.errors for result in seen] == [()] * 3
    assert f"--scheduler={cluster.address}: has no worker, jobs wait: start 'dask worker" in caplog.text
    for number in range(3):
        assert events.index((number, True)) < events.index((number, False))
    assert events.index((0, False)) < events.index((2, True))  # one worker: the third job waited


def test_the_commands_of_the_documentation_make_a_cluster_on_one_machine(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cluster.rst").read_text(encoding="utf-8")
    section = page.partition("On one machine\n")[2].partition("On SLURM\n")[0]
    commands = [line.strip()[2:] for line in section.splitlines() if line.startswith("   $ ")]
    assert len(commands) == 4
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    script = "\n".join([*commands, "code=$?", "kill $(jobs -p)", "wait", "exit $code"]).replace("8786", str(port))
    simulate_darks(tmp_path / "night", DarkSimulation(shape=(64, 64), frames=3))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(path) for path in products(tmp_path / "reduced")]


def test_the_versions_of_client_and_workers_must_agree(cluster, monkeypatch):
    cluster.add_worker()
    monkeypatch.setattr(dask_cluster, "__version__", "0.0")
    with pytest.raises(SoxspipeError, match=r"workers have soxspipe .*, expected 0\.0 as here: install the same"):
        DaskCluster(cluster.address)


def test_a_scheduler_that_is_lost_is_named(cluster, sets, tmp_path):
    cluster.add_worker()
    jobs = [ReductionJob(MDARK, [path], output_dir=str(tmp_path / "out")) for path in sets(6)]
    results = []
    for result in run_jobs(jobs, 2, executor=DaskCluster(cluster.address)):
        results.append(result)
        if len(results) == 1:
            cluster.scheduler.kill()
    assert results[0].product
    errors = [line for result in results for line in result.errors]
    assert errors
    for line in errors:
        assert f"the scheduler {cluster.address} was lost, or it cancelled the job: start it, and use --resume" in line


@pytest.mark.parametrize("address", ["junk", "tcp://", "127.0.0.1:8786", "tcp://host:port"])
def test_what_is_no_address_is_refused(address, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.sof").touch()
    assert main(["mdark", "a.sof", f"--scheduler={address}"]) == 2
    assert f"--scheduler is '{address}', expected an address such as tcp://10.0.0.1:8786" in capsys.readouterr().err


def test_an_address_where_nothing_answers_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(dask_cluster, "ANSWER_S", 1)
    monkeypatch.chdir(tmp_path)
    Path("a.sof").touch()
    assert main(["mdark", "a.sof", "--scheduler=tcp://127.0.0.1:9"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("soxspipe:")]
    assert "--scheduler=tcp://127.0.0.1:9: does not answer" in line
