"""Commands that reduce frames."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Collection, Sequence
from typing import Any

from ..exceptions import SoxspipeError
from ..execution.job import JobResult, ReductionJob, finished
from ..execution.run_jobs import run_jobs
from ..inputs.reductions import require_distinct, split_reductions
from ..products.products_sof import ProductsSof
from ..run_log import get_logger
from .board import Board, outcome
from .run_options import RunOptions, output_option, settings_option
from .terminal import Terminal, write_result
from .usage import RECIPES, path_argument, workers_argument

__all__ = ["run", "run_and_report"]

_log = get_logger(__name__)

#: Exit code for a product with a QC value out of its range.
OUT_OF_RANGE = 3


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Run the recipe of a command on each of its inputs, or make a product again, and return the exit code."""
    if options.get("--rerun") is not None:  # dark-current has none
        return _rerun(command, options, terminal)
    recipe, argument = RECIPES[command]
    paths = [path_argument(path, "input") for path in options[argument]]
    inputs = split_reductions(paths, share_products=argument == "<inputFrames>")
    require_distinct(frames[0] for frames in inputs)
    run_options = RunOptions.of(options, settings_option(options), paths)
    jobs = [run_options.job(recipe, frames) for frames in inputs]
    return run_and_report(command, jobs, run_options, terminal)


def run_and_report(
    label: str,
    jobs: Sequence[ReductionJob],
    options: RunOptions,
    terminal: Terminal,
    *,
    needs: Sequence[Collection[int]] = (),
) -> int:
    """Run jobs, show how they go, write their results and errors, and return the exit code."""
    records: list[Any] = []
    codes: list[int] = []
    shown: list[tuple[str, JobResult]] = []
    names = [os.path.basename(job.input_frames[0]) for job in jobs]
    progress = terminal.progress(label) if len(jobs) == 1 else None
    executor = None
    if options.scheduler is not None:
        from ..execution.dask_cluster import DaskCluster

        executor = DaskCluster(options.scheduler)
    with Board(names, terminal) if len(jobs) > 1 else contextlib.nullcontext() as board:
        watch = None if board is None else board.show
        with contextlib.closing(
            run_jobs(jobs, options.workers, progress, executor, needs=needs, watch=watch)
        ) as results:
            for result in results:
                record = result.record()
                if result.errors:
                    record["input"] = list(jobs[len(records)].input_frames)
                records.append(record)
                shown.append((names[len(shown)], result))
                codes.append(terminal.show_errors(result))
                if result.product is None:
                    continue
                codes[-1] = _report_replaced(shown, terminal)
                if len(jobs) > 1 and not terminal.has_table:
                    terminal.inform(f"{names[len(codes) - 1]}: {': '.join(outcome(result))}")
                if terminal.level <= logging.INFO:
                    from .fundamentals_adapter import elapsed_words

                    _log.info("%s: reduced in %s", result.product, elapsed_words(0, result.elapsed_s))
                if not options.as_json:
                    try:
                        with terminal.without_table():
                            write_result("\n".join(_result_lines(label, result)))
                    except OSError as error:
                        codes[-1] = terminal.show_exception(error)
                options.database.add(result.product)
    _mention_resume(shown, options, terminal)
    if any(result.product for _, result in shown):
        terminal.show_figures(shown)
    _write_list(options.products_sof, [result for _, result in shown])
    if options.as_json:
        write_result(json.dumps(records if len(codes) > 1 else records[0], indent=2, allow_nan=False))
    if options.strict and not any(codes):
        return OUT_OF_RANGE if any(value["passed"] is False for _, result in shown for value in result.qc) else 0
    return codes[0] if len(codes) == 1 else int(any(codes))


def _mention_resume(shown: Sequence[tuple[str, JobResult]], options: RunOptions, terminal: Terminal) -> None:
    """Mention the option that keeps products, where one of several was refused because it exists already."""
    if options.template.resume or len(shown) == 1:
        return
    if any("exists already" in line for _, result in shown for line in result.errors):
        terminal.inform("with --resume the products that exist already are kept, and the others are made")


def _report_replaced(shown: Sequence[tuple[str, JobResult]], terminal: Terminal) -> int:
    """Show an error where the last product took the place of another one of this run, and return its exit code."""
    *earlier, (name, last) = shown
    twin = next((other for other, result in earlier if result.product == last.product), None)
    if twin is None or last.was_there:
        return 0
    fault = f"{twin} and {name} give the same product, and one replaced the other: use different folders"
    return terminal.show_exception(SoxspipeError(f"{last.product}: {fault}"))


def _write_list(products_sof: ProductsSof | None, results: Sequence[JobResult]) -> None:
    """Write the FITS files of all products to a set of files, if one was asked for."""
    if products_sof is not None:
        products_sof.write([path for result in results for path in result.files.values() if path.endswith(".fits")])


def _result_lines(label: str, result: JobResult) -> list[str]:
    """Return what standard output has of a product: its path; of a demo its report too, which is there to be read."""
    roles = ("report",) if label == "demo" else ()
    return [str(result.product), *(result.files[role] for role in roles if role in result.files)]


def _rerun(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Make a product again from its header, and write what differs."""
    from ..recipes.rerun import rerun

    raw = None if options["--raw"] is None else path_argument(options["--raw"], "--raw")
    product, progress = path_argument(options["--rerun"], "--rerun"), terminal.progress(command)
    again = rerun(
        product,
        raw,
        output_option(options),
        recipe=RECIPES[command][0].partition(":")[2],
        workers=workers_argument(options["--workers"]),
        progress=progress,
        overwrite=options["--overwrite"],
        compress=options["--compress"],
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
