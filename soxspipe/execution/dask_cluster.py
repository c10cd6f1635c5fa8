"""Jobs on a Dask cluster."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import TYPE_CHECKING

from ..exceptions import CommandLineError, SoxspipeError
from ..run_log import get_logger
from ..text import escape
from ..version import __version__
from .job import JobResult, ReductionJob, failed, reduce_unheard

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["DaskCluster"]

_log = get_logger(__name__)

ADDRESS = re.compile(r"[a-z]+://[^\s/]+:[0-9]+")
#: Time in which scheduler and first worker must answer, second.
ANSWER_S = 30
#: Time between two looks at whether there are workers, second.
LOOK_S = 5.0
#: Topic of the messages of workers that begin a job.
TOPIC = "soxspipe-begun"


class DaskCluster:
    """The workers of a Dask scheduler. They see the files under the same paths as this process.

    A job whose worker dies is given to another one by the scheduler. No pixel passes through it: a job holds paths,
    its result holds paths and QC values.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    CommandLineError
        When Dask is not installed.
    SoxspipeError
        When the scheduler or its workers do not answer, or have another version of soxspipe.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise CommandLineError(
                "--scheduler needs Dask, which is not installed: pip install 'soxspipe[cluster]'"
            ) from error
        if not ADDRESS.fullmatch(address):
            raise CommandLineError(
                f"--scheduler is '{escape(address)}', expected an address such as tcp://10.0.0.1:8786"
            )
        self._address = address
        try:
            self._client: Client = Client(address, timeout=ANSWER_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise SoxspipeError(f"--scheduler={address}: does not answer ({error}): start 'dask scheduler'") from error
        try:
            self._check_workers(address)
        except BaseException:
            self._client.close()
            raise
        self._executor: Executor = self._client.get_executor(pure=False)
        self._has_workers, self._next_look = True, 0.0
        self._submitted: dict[str, Future[JobResult | None]] = {}
        self._client.subscribe_topic(TOPIC, self._begin)

    def _check_workers(self, address: str) -> None:
        try:
            self._client.wait_for_workers(1, timeout=ANSWER_S)
            versions = set(self._client.run(_version).values())
        except TimeoutError as error:
            raise SoxspipeError(f"--scheduler={address}: has no worker: start 'dask worker {address}'") from error
        except ImportError as error:
            raise SoxspipeError(f"--scheduler={address}: a worker has no soxspipe ({error}): install it") from error
        if versions != {__version__}:
            raise SoxspipeError(_other_version(", ".join(sorted(versions - {__version__}))))

    def _begin(self, event: tuple[float, str]) -> None:
        """Note that a worker has begun a job; another worker may have begun it before, and died."""
        future = self._submitted.get(event[1])
        if future is not None and not future.running() and not future.done():
            future.set_running_or_notify_cancel()

    def check(self) -> None:
        """Warn once where no worker is left."""
        if time.monotonic() < self._next_look:  # each look is a question to the scheduler
            return
        self._next_look = time.monotonic() + LOOK_S
        had_workers, self._has_workers = self._has_workers, bool(self._client.scheduler_info()["workers"])
        if had_workers and not self._has_workers:
            remedy = f"start 'dask worker {self._address}'"
            _log.warning("--scheduler=%s: has no worker, jobs wait: %s", self._address, remedy)

    def submit(self, job: ReductionJob) -> Future[JobResult | None]:
        """Submit a job; its result is None where all workers that had it died."""
        paths = [os.path.abspath(path) for path in job.input_frames]
        job = replace(job, input_frames=paths, output_dir=os.path.abspath(job.output_dir))
        future: Future[JobResult | None] = Future()
        self._submitted[job.token] = future

        def pass_on(done: Future[JobResult]) -> None:
            if done.cancelled():
                reason = f"the scheduler {self._address} was lost, or it cancelled the job"
                future.set_result(failed(SoxspipeError(f"{job.input_frames[0]}: {reason}: start it, and use --resume")))
            elif type(done.exception()).__name__ == "KilledWorker":
                future.set_result(None)
            elif error := done.exception():
                future.set_result(failed(error if isinstance(error, Exception) else SoxspipeError(str(error))))
            else:
                future.set_result(done.result())

        self._executor.submit(_reduce_on_worker, job, __version__).add_done_callback(pass_on)
        return future

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False)
        self._client.close()


def _version() -> str:
    return __version__


def _other_version(version: str) -> str:
    return f"workers have soxspipe {version}, expected {__version__} as here: install the same version everywhere"


def _reduce_on_worker(job: ReductionJob, version: str) -> JobResult:
    """Do a job on a worker, which may have joined the cluster later."""
    if version != __version__:
        return failed(
            SoxspipeError(f"a worker has soxspipe {__version__}, expected {version}: install the same version")
        )
    from distributed import get_worker

    get_worker().log_event(TOPIC, job.token)
    return reduce_unheard(job)
