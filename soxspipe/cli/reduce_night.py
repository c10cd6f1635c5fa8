"""The command that reduces folders: plan, then every set in the order of its needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..execution.job import ReductionJob
from ..night.plan import PlannedSet
from ..settings import Settings
from ..text import escape
from .prep import output_option, plan_folders, plan_text, settings_option
from .reduce import run_and_report
from .terminal import Terminal, write_result
from .usage import path_argument, workers_argument

__all__ = ["jobs_of_sets", "run", "show_notes"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Reduce all sets of raw frames below folders, and return the exit code."""
    output = output_option(options)
    folders = [path_argument(path, "directory") for path in options["<directory>"]]
    settings, workers = settings_option(options), workers_argument(options["--workers"])
    plan = plan_folders(folders, settings, output, terminal, write=not options["--dry-run"])
    if options["--dry-run"]:
        write_result(plan_text(plan, as_json=options["--json"]))
        return 0
    show_notes(plan.sets, terminal)
    if plan.left_out:
        terminal.inform(f"{len(plan.left_out)} files left out: their reasons are in {escape(output / 'plan.csv')}")
    jobs, needs = jobs_of_sets(
        plan.reducible,
        settings,
        output,
        overwrite=options["--overwrite"],
        resume=options["--resume"],
        report=not options["--no-report"],
    )
    one_failed = int(any(one.is_failure for one in plan.sets))
    if not jobs:
        terminal.inform("no set to reduce")
        return one_failed
    code = run_and_report(
        "reduce",
        jobs,
        workers,
        terminal,
        as_json=options["--json"],
        needs=needs,
        scheduler=options["--scheduler"],
        strict=options["--strict"],
    )
    return one_failed or code


def show_notes(sets: Sequence[PlannedSet], terminal: Terminal) -> None:
    """Show missing calibrations and frames, and the sets that are not reduced, with the reason."""
    for one in sets:
        for line in (*one.notes, *([f"not reduced: {one.problem}"] if one.problem else [])):
            terminal.inform(f"{one.name}: {escape(line)}")


def jobs_of_sets(
    sets: Sequence[PlannedSet],
    settings: Settings,
    output: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report: bool = True,
) -> tuple[list[ReductionJob], list[list[int]]]:
    """Return a job for each set, and for each job the numbers of the jobs whose products it needs."""
    jobs = [
        ReductionJob(
            one.recipe.name,
            [str(output / one.sof_name)],
            settings,
            str(output),
            overwrite,
            resume=resume,
            report=report,
        )
        for one in sets
    ]
    numbers = {one.name: number for number, one in enumerate(sets)}
    needs = [
        [numbers[two.candidate.product] for two in one.attached if two.candidate.product in numbers] for one in sets
    ]
    return jobs, needs
