"""Commands that reduce frames."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Collection, Sequence
from typing import Any

from ..execution.job import JobResult, ReductionJob, finished
from ..execution.run_jobs import run_jobs
from ..inputs.reductions import split_reductions
from ..run_log import get_logger
from .board import Board, outcome
from .terminal import Terminal, write_result
from .usage import RECIPES, path_argument, workers_argument

__all__ = ["run", "run_and_report"]

_log = get_logger(__name__)

#: Exit code for a product with a QC value out of its range.
OUT_OF_RANGE = 3


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Run the recipe of a command on each of its inputs, or make a product again, and return the exit code."""
    output = "." if options["--output"] is None else path_argument(options["--output"], "--output")
    workers = workers_argument(options["--workers"])
    if options.get("--rerun") is not None:  # dark-current has none
        return _rerun(command, options, output, workers, terminal)
    recipe, argument = RECIPES[command]
    paths = [path_argument(path, "input") for path in options[argument]]
    inputs = split_reductions(paths, share_products=argument == "<inputFrames>")
    settings = None
    if options["--settings"] is not None:
        from ..settings import Settings

        settings = Settings.load(path_argument(options["--settings"], "--settings"))
    jobs = [
        ReductionJob(
            recipe,
            frames,
            settings,
            output,
            options["--overwrite"],
            resume=options["--resume"],
            report=not options["--no-report"],
        )
        for frames in inputs
    ]
    return run_and_report(
        command,
        jobs,
        workers,
        terminal,
        as_json=options["--json"],
        scheduler=options["--scheduler"],
        strict=options["--strict"],
    )


def run_and_report(
    label: str,
    jobs: Sequence[ReductionJob],
    workers: int,
    terminal: Terminal,
    *,
    as_json: bool = False,
    needs: Sequence[Collection[int]] = (),
    scheduler: str | None = None,
    strict: bool = False,
) -> int:
    """Run jobs, show how they go, write their results and errors, and return the exit code."""
    records: list[Any] = []
    codes: list[int] = []
    shown: list[tuple[str, JobResult]] = []
    names = [os.path.basename(job.input_frames[0]) for job in jobs]
    progress = terminal.progress(label) if len(jobs) == 1 else None
    executor = None
    if scheduler is not None:
        from ..execution.dask_cluster import DaskCluster

        executor = DaskCluster(scheduler)
    with Board(names, terminal) if len(jobs) > 1 else contextlib.nullcontext() as board:
        watch = None if board is None else board.show
        with contextlib.closing(run_jobs(jobs, workers, progress, executor, needs=needs, watch=watch)) as results:
            for result in results:
                record = result.record()
                if result.errors:
                    record["input"] = list(jobs[len(records)].input_frames)
                records.append(record)
                shown.append((names[len(shown)], result))
                codes.append(terminal.show_errors(result))
                if result.product is None:
                    continue
                if len(jobs) > 1 and not terminal.has_table:
                    terminal.inform(f"{names[len(codes) - 1]}: {': '.join(outcome(result))}")
                if terminal.level <= logging.INFO:
                    from .fundamentals_adapter import elapsed_words

                    _log.info("%s: reduced in %s", result.product, elapsed_words(0, result.elapsed_s))
                if not as_json:
                    try:
                        with terminal.without_table():
                            write_result("\n".join(_result_lines(label, result)))
                    except OSError as error:
                        codes[-1] = terminal.show_exception(error)
    if any(result.product for _, result in shown):
        terminal.show_figures(shown)
    if as_json:
        write_result(json.dumps(records if len(codes) > 1 else records[0], indent=2, allow_nan=False))
    if strict and not any(codes):
        return OUT_OF_RANGE if any(value["passed"] is False for _, result in shown for value in result.qc) else 0
    return codes[0] if len(codes) == 1 else int(any(codes))


def _result_lines(label: str, result: JobResult) -> list[str]:
    """Return what standard output has of a product: its path; of a demo its report too, which is there to be read."""
    roles = ("report",) if label == "demo" else ()
    return [str(result.product), *(result.files[role] for role in roles if role in result.files)]


def _rerun(command: str, options: dict[str, Any], output: str, workers: int, terminal: Terminal) -> int:
    """Make a product again from its header, and write what differs."""
    from ..recipes.rerun import rerun

    raw = None if options["--raw"] is None else path_argument(options["--raw"], "--raw")
    product, progress = path_argument(options["--rerun"], "--rerun"), terminal.progress(command)
    recipe = RECIPES[command][0].partition(":")[2]
    again = rerun(
        product,
        raw,
        output,
        recipe=recipe,
        overwrite=options["--overwrite"],
        workers=workers,
        progress=progress,
        report=not options["--no-report"],
    )
    record = finished(again.product).record()
    if options["--json"]:
        comparison = {
            "of": product, "same_pixels": again.same_pixels, "planes": again.planes, "keywords": again.keywords,
        }  # fmt: skip
        write_result(json.dumps(record | {"rerun": comparison}, indent=2, allow_nan=False))
    else:
        write_result("\n".join([record["product"], *again.planes, *again.keywords]))
    return 0 if again.same_pixels else 1
