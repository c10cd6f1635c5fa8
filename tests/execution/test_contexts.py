"""Reductions wherever Python runs: in threads, in a spawned process, beside an event loop; nothing global changes."""

import asyncio
import logging
import multiprocessing
import signal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.execution.job import ReductionJob, reduce
from soxspipe.execution.run_jobs import run_jobs
from soxspipe.recipes import soxs_mdark
from soxspipe.signals import STOP_SIGNALS
from soxspipe.simulation import DarkSimulation, simulate_darks

RECIPE = "soxspipe.recipes:soxs_mdark"
PLANES = ("FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Return two sets of small darks whose frames have other names."""
    folder = tmp_path_factory.mktemp("sets")
    paths = []
    for day in (1, 2):
        simulation = DarkSimulation(shape=(96, 96), frames=5, seed=day, start=f"2026-03-0{day}T10:00:00")
        paths.append(str(simulate_darks(folder / str(day), simulation).sof))
    return paths


def planes_of(path):
    with fits.open(path) as hdus:
        return {name: np.array(hdus[name].data) for name in PLANES}


@pytest.fixture(scope="module")
def expected(sets, tmp_path_factory):
    """Return the planes of each set, reduced alone."""
    folder = tmp_path_factory.mktemp("expected")
    return [planes_of(soxs_mdark(sof, output_dir=folder).produce_product().path) for sof in sets]


def job_of(sof, output, **options):
    return ReductionJob(RECIPE, [sof], None, str(output), **options)


def check(result, planes, day):
    """Compare a product with what the set gives alone; its log must have lines of this set alone."""
    assert not result.errors, result.traceback
    made = planes_of(result.product)
    assert all(np.array_equal(made[name], planes[name], equal_nan=True) for name in PLANES)
    with open(result.files["log"], encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    assert sum("recipe soxs_mdark" in line for line in lines) == 1
    assert sum("written to" in line for line in lines) == 1
    assert any(f"SOXS.2026-03-0{day}" in line for line in lines)
    assert not any(f"SOXS.2026-03-0{3 - day}" in line for line in lines)
    messages = [record.getMessage() for record in result.messages if record.levelno >= logging.INFO]
    assert [line.partition(": ")[2] for line in lines] == messages


def global_state():
    loggers = [logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict) if "soxspipe" in name]
    return {
        "warnings": (list(warnings.filters), warnings.showwarning),
        "loggers": [(log.name, log.level, list(log.handlers), log.propagate, log.disabled) for log in loggers],
        "streams": (sys.stdout, sys.stderr),
        "signals": [signal.getsignal(number) for number in STOP_SIGNALS],
        "hooks": (sys.excepthook, sys.unraisablehook),
        "numpy": np.geterr(),
    }


@pytest.mark.parametrize("round_", range(2))
def test_two_reductions_in_two_threads(round_, sets, expected, tmp_path, monkeypatch):
    def refuse(_):
        raise AssertionError("the warning filters are those of all threads")

    before = global_state()
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(warnings.catch_warnings, "__enter__", refuse)
        results = list(threads.map(reduce, [job_of(sof, tmp_path, workers=2) for sof in sets]))
    assert global_state() == before
    for result, planes, day in zip(results, expected, (1, 2), strict=True):
        check(result, planes, day)


def test_two_recipes_in_two_threads_whose_caller_logs_nothing(sets, tmp_path):
    logging.disable(logging.CRITICAL)
    try:
        with ThreadPoolExecutor(2) as threads:
            products = list(threads.map(lambda sof: soxs_mdark(sof, output_dir=tmp_path).produce_product(), sets))
    finally:
        logging.disable(logging.NOTSET)
    for product, day in zip(products, (1, 2), strict=True):
        text = product.files["log"].read_text()
        assert f"SOXS.2026-03-0{day}" in text
        assert f"SOXS.2026-03-0{3 - day}" not in text


def test_a_reduction_in_a_spawned_process(sets, expected, tmp_path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        check(executor.submit(reduce, job_of(sets[0], tmp_path)).result(), expected[0], 1)


def test_a_reduction_beside_a_running_event_loop(sets, expected, tmp_path):
    """As in a notebook, whose cells run inside a loop."""
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def cell():
        ticking = asyncio.create_task(tick())
        in_thread = await asyncio.to_thread(reduce, job_of(sets[0], tmp_path))
        in_loop = reduce(job_of(sets[1], tmp_path))
        ticking.cancel()
        return in_thread, in_loop

    before = global_state()
    for result, planes, day in zip(asyncio.run(cell()), expected, (1, 2), strict=True):
        check(result, planes, day)
    assert global_state() == before
    assert len(ticks) > 1


def test_jobs_in_processes_from_a_thread_beside_a_running_event_loop(sets, expected, tmp_path):
    async def cell():
        return await asyncio.to_thread(lambda: list(run_jobs([job_of(sof, tmp_path) for sof in sets], 2)))

    before = global_state()
    for result, planes, day in zip(asyncio.run(cell()), expected, (1, 2), strict=True):
        check(result, planes, day)
    assert global_state() == before


def test_an_error_is_part_of_the_result(sets, tmp_path):
    first = reduce(job_of(sets[0], tmp_path))
    again = reduce(job_of(sets[0], tmp_path))
    assert (again.exit_code, again.product) == (2, None)
    assert list(again.errors) == [
        f"{first.product}: exists already and was left alone: choose another folder, or --overwrite"
    ]
    assert again.record()["errors"] == again.errors
    assert not reduce(job_of(sets[0], tmp_path, overwrite=True)).errors


def test_another_try_of_a_job_finds_the_product_of_the_first(sets, tmp_path):
    job = job_of(sets[0], tmp_path, token="f00d")
    first = reduce(job)
    again = reduce(job)
    assert (again.product, again.errors, again.was_there) == (first.product, (), True)
    assert again.qc == first.qc
    assert reduce(replace(job, token="beef")).exit_code == 2
