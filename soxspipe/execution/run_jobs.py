"""Run jobs: here, or on an executor of other processes; each after the jobs whose products it needs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import Protocol

from ..exceptions import SoxspipeError
from ..parallel import Progress
from ..run_log import relay
from .job import JobResult, ReductionJob, failed, reduce

__all__ = ["Executor", "Watch", "run_jobs"]

#: Called with the number of a job when it begins (the result is None), and when it has ended.
Watch = Callable[[int, JobResult | None], object]
#: Time between two looks at which jobs have begun, second.
LOOK_S = 0.2


class Executor(AbstractContextManager["Executor"], Protocol):
    """Runs jobs outside this process; a context manager that leaves no job behind.

    The paths of a job are relative to the working directory: an executor must run jobs in the same directory.
    """

    def submit(self, job: ReductionJob) -> Future[JobResult | None]:
        """Submit a job, whose messages go to its result only. The result is None where its process died."""

    def check(self) -> None:
        """Warn where no job can go on; called several times a second."""


def run_jobs(
    jobs: Sequence[ReductionJob],
    workers: int,
    progress: Progress | None = None,
    executor: Executor | None = None,
    *,
    needs: Sequence[Collection[int]] = (),
    watch: Watch | None = None,
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
    needs : sequence of collections of int, optional
        For each job the numbers of earlier jobs whose products it uses: it begins when they are done, and is not done
        when one of them failed.
    watch : callable, optional
        Called as ``watch(number, None)`` when a job begins and ``watch(number, result)`` when it has ended.

    Yields
    ------
    JobResult
    """
    jobs = [replace(job, workers=max(1, workers // len(jobs))) for job in jobs]
    needs = needs or [()] * len(jobs)
    notify = watch or (lambda number, result: None)
    if executor is None and min(workers, len(jobs)) < 2:
        results: dict[int, JobResult] = {}
        for number, job in enumerate(jobs):
            result = _without_input(number, jobs, needs[number], results)
            if result is None:
                notify(number, None)
                result = reduce(job, progress)
            results[number] = result
            notify(number, result)
            yield result
        return
    from .local_processes import LocalProcesses

    jobs = [replace(job, token=secrets.token_hex(8)) for job in jobs]
    with executor or LocalProcesses(min(workers, len(jobs))) as processes:
        yield from _run_elsewhere(jobs, processes, needs, notify)


def _run_elsewhere(
    jobs: Sequence[ReductionJob], executor: Executor, needs: Sequence[Collection[int]], notify: Watch
) -> Generator[JobResult]:
    """Submit each job when the products that it needs are there."""
    waiting = TopologicalSorter(dict(enumerate(needs)))
    waiting.prepare()
    running: dict[Future[JobResult | None], int] = {}
    begun: set[int] = set()
    killed: list[int] = []
    results: dict[int, JobResult] = {}
    n_yielded = 0

    def end(number: int, result: JobResult) -> None:
        results[number] = result
        waiting.done(number)
        notify(number, result)

    while n_yielded < len(jobs):
        while ready := waiting.get_ready():
            for number in ready:
                result = _without_input(number, jobs, needs[number], results)
                if result is None:
                    running[executor.submit(jobs[number])] = number
                else:
                    end(number, result)
        if not running and killed:  # the memory may have been too short for two
            number = killed.pop(0)
            reason = "its process was killed: where memory is short, choose --workers=1"
            again = executor.submit(jobs[number]).result()
            end(number, again or failed(SoxspipeError(f"{jobs[number].input_frames[0]}: {reason}")))
        executor.check()
        ended, _ = wait(running, LOOK_S, FIRST_COMPLETED) if running else ((), ())
        for future, number in running.items():
            if number not in begun and (future.running() or future in ended):
                begun.add(number)
                notify(number, None)
        for future in sorted(ended, key=running.__getitem__):
            number = running.pop(future)
            result = future.result()
            if result is None:
                killed.append(number)
            else:
                end(number, result)
        while n_yielded in results:
            relay(results[n_yielded].messages)
            yield results[n_yielded]
            n_yielded += 1


def _without_input(
    number: int, jobs: Sequence[ReductionJob], needed: Collection[int], results: dict[int, JobResult]
) -> JobResult | None:
    """Return the result of a job that needs the product of a failed one; None for other jobs."""
    missing = [jobs[need].input_frames[0] for need in sorted(needed) if results[need].product is None]
    if not missing:
        return None
    return failed(
        SoxspipeError(
            f"{jobs[number].input_frames[0]}: not reduced: it needs the product of {', '.join(missing)}, "
            "which was not made: see the error above; --resume uses a product that exists already"
        )
    )
