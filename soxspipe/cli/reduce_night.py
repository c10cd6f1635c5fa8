"""The command that reduces folders: plan, then every set in the order of its needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..execution.job import ReductionJob
from ..night.find_frames import NightFile
from ..night.plan import PlannedSet
from ..run_log import get_logger
from ..text import escape, listed
from .prep import PLAN_CSV, plan_folders, plan_text
from .reduce import run_and_report
from .run_options import RunOptions, output_option, settings_option
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["jobs_of_sets", "run", "show_notes", "warn_of_faults"]

_log = get_logger(__name__)

#: Files with a fault that are named; the plan's files name all.
MOST_WARNINGS = 20


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Reduce all sets of raw frames below folders, and return the exit code."""
    folders = [path_argument(path, "directory") for path in options["<directory>"]]
    settings = settings_option(options)
    output = Path(output_option(options))
    run_options = RunOptions.of(options, settings, folders)
    plan = plan_folders(folders, settings, output, terminal, write=not options["--dry-run"])
    if options["--dry-run"]:
        write_result(plan_text(plan, as_json=options["--json"]))
        return 0
    show_notes(plan.sets, terminal)
    _show_left_out(plan.left_out, output, terminal)
    jobs, needs = jobs_of_sets(plan.reducible, run_options)
    one_failed = int(any(one.is_failure for one in plan.sets))
    if not jobs:
        terminal.inform("no set to reduce")
        return one_failed
    code = run_and_report(command, jobs, run_options, terminal, needs=needs)
    return one_failed or code


def _show_left_out(files: Sequence[NightFile], output: Path, terminal: Terminal) -> None:
    """Warn of each file that has a fault, and show how many files are left out."""
    warn_of_faults([file for file in files if file.is_fault])
    if files:
        reasons = (
            "1 file left out: its reason is" if len(files) == 1 else f"{len(files)} files left out: their reasons are"
        )
        terminal.inform(f"{reasons} in {escape(output / PLAN_CSV)}")


def warn_of_faults(files: Sequence[NightFile]) -> None:
    """Warn of each of some files that have a fault; of many, count the others."""
    for file in files[:MOST_WARNINGS]:
        _log.warning("%s: left out: %s", os.path.relpath(file.path), file.reason)
    if len(files) > MOST_WARNINGS:
        _log.warning("%d more files that have a fault are left out", len(files) - MOST_WARNINGS)


def show_notes(sets: Sequence[PlannedSet], terminal: Terminal) -> None:
    """Show missing calibrations and frames, and the sets that are not reduced, with the reason."""
    for one in sets:
        names = listed([frame.name for frame in one.frames])
        for line in (*one.notes, *([f"not reduced: {one.problem} ({names})"] if one.problem else [])):
            terminal.inform(f"{one.name}: {escape(line)}")


def jobs_of_sets(sets: Sequence[PlannedSet], options: RunOptions) -> tuple[list[ReductionJob], list[list[int]]]:
    """Return a job for each set, and for each job the numbers of the jobs whose products it needs."""
    jobs = [options.job(one.recipe.name, [os.path.join(options.template.output_dir, one.sof_name)]) for one in sets]
    numbers = {one.name: number for number, one in enumerate(sets)}
    needs = [
        [numbers[two.candidate.product] for two in one.attached if two.candidate.product in numbers] for one in sets
    ]
    return jobs, needs
