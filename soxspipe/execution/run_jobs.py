"""Run jobs: in this process, or in processes of this machine."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..exceptions import SoxspipeError
from ..run_log import relay
from .job import JobResult, ReductionJob, failed, reduce

if TYPE_CHECKING:
    from ..recipes.base_recipe import Progress

__all__ = ["run_jobs"]


def run_jobs(jobs: Sequence[ReductionJob], workers: int, progress: Progress | None = None) -> Generator[JobResult]:
    """Do jobs; yield their results in the order of the jobs, each as soon as it is known.

    With one job or one worker all is done in this process, else in as many processes as there are workers. The log
    of a job reaches the log of the caller in both cases. A job whose process dies is tried once more when no other job
    runs. No process is left when the iterator ends, by an exception or because the caller closes it too.

    Parameters
    ----------
    jobs : sequence of ReductionJob
        The jobs; the number of workers inside each is set here.
    workers : int
        Processes; where there are more than jobs, they become threads inside the jobs.
    progress : callable, optional
        Called as ``progress(done, total)`` while a job in this process works on pixels.

    Yields
    ------
    JobResult
    """
    jobs = [replace(job, workers=max(1, workers // len(jobs))) for job in jobs]
    if min(workers, len(jobs)) < 2:
        for job in jobs:
            yield reduce(job, progress)
        return
    from concurrent.futures import wait

    from .local_processes import LocalProcesses

    with LocalProcesses(min(workers, len(jobs))) as processes:
        futures = [processes.submit(job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            result = future.result()
            if result is None:
                wait(futures)  # the memory may have been too short for two
                reason = "its process was killed: where memory is short, choose --workers=1"
                result = processes.submit(job).result() or failed(SoxspipeError(f"{job.input_frames[0]}: {reason}"))
            relay(result.messages)
            yield result
