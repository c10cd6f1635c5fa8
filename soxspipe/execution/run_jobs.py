"""Run jobs: in this process, in processes of this machine, or elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ..exceptions import SoxspipeError
from ..run_log import relay
from .job import JobResult, ReductionJob, failed, reduce

if TYPE_CHECKING:
    from ..recipes.base_recipe import Progress

__all__ = ["Executor", "run_jobs"]


class Executor(AbstractContextManager["Executor"], Protocol):
    """Runs jobs outside this process; a context manager that leaves no job behind.

    The paths of a job are relative to the working directory: an executor must run jobs in the same directory.
    """

    def submit(self, job: ReductionJob) -> Future[JobResult | None]:
        """Submit a job, whose messages go to its result only. The result is None where its process died."""


def run_jobs(
    jobs: Sequence[ReductionJob], workers: int, progress: Progress | None = None, executor: Executor | None = None
) -> Generator[JobResult]:
    """Run jobs; yield their results in the order of the jobs, each as soon as it is known.

    Without an executor one job or one worker runs in this process, else at most as many processes as workers do the
    jobs. The log of a job reaches the log of the caller in all cases. A job whose process dies is tried once more when
    no other job runs. No process is left when the iterator ends, also by an exception or when the caller closes it.

    Parameters
    ----------
    jobs : sequence of ReductionJob
        The jobs. Their paths are relative to the working directory. The number of workers inside each is set here.
    workers : int
        Most processes; if there are more than jobs, they become threads inside the jobs.
    progress : callable, optional
        Called as ``progress(done, total)`` while a job in this process works on pixels; not for jobs elsewhere.
    executor : Executor, optional
        Runs the jobs, such as on a cluster; default: `~soxspipe.execution.local_processes.LocalProcesses`.

    Yields
    ------
    JobResult
    """
    jobs = [replace(job, workers=max(1, workers // len(jobs))) for job in jobs]
    if executor is None and min(workers, len(jobs)) < 2:
        for job in jobs:
            yield reduce(job, progress)
        return
    from .local_processes import LocalProcesses

    with executor or LocalProcesses(min(workers, len(jobs))) as processes:
        futures = [processes.submit(job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            result = future.result()
            if result is None:
                wait(futures)  # the memory may have been too short for two
                reason = "its process was killed: where memory is short, choose --workers=1"
                result = processes.submit(job).result() or failed(SoxspipeError(f"{job.input_frames[0]}: {reason}"))
            relay(result.messages)
            yield result
