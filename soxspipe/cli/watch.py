"""The command that reduces sets as their frames arrive."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ..night.arrival import complete_sets, damaged_files, folder_changes
from ..night.find_frames import require_folders
from ..night.plan import PlannedSet
from .prep import plan_folders
from .reduce import run_and_report
from .reduce_night import jobs_of_sets, show_notes, warn_of_faults
from .run_options import RunOptions, output_option, settings_option
from .terminal import Terminal
from .usage import path_argument

__all__ = ["run"]

#: Time after a change in which more changes are awaited, second.
SETTLE_S = 1.0


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Reduce each set of raw frames below folders when it is complete, until the program is stopped."""
    output = Path(output_option(options))
    folders = [path_argument(path, "directory") for path in options["<directory>"]]
    settings = settings_option(options)
    require_folders(folders)
    RunOptions.of(options, settings)  # so that a wrong option is refused now
    quiet_s = 60 * settings.night.quiet_minutes
    tried: set[tuple[str, ...]] = set()
    named: set[str] = set()

    def is_new(one: PlannedSet) -> bool:
        return not os.path.lexists(one.product) and _frames(one) not in tried

    with folder_changes(folders) as changed:
        terminal.inform(f"watching {', '.join(folders)}: stop with Ctrl-C")
        while True:
            changed.clear()
            plan = plan_folders(folders, settings, output, terminal)
            damaged = [file for file in damaged_files(plan, quiet_s) if file.path not in named]
            named.update(file.path for file in damaged)
            warn_of_faults(damaged)
            sets = [one for one in complete_sets(plan, quiet_s) if is_new(one)]
            if sets:
                tried.update(map(_frames, sets))  # a set that failed is tried again when its frames change
                show_notes(sets, terminal)
                # new options, in case the database is there again
                run_options = RunOptions.of(options, settings)
                jobs, needs = jobs_of_sets(sets, run_options)
                run_and_report(command, jobs, run_options, terminal, needs=needs)
            elif changed.wait(settings.night.rescan_seconds):
                time.sleep(SETTLE_S)


def _frames(one: PlannedSet) -> tuple[str, ...]:
    return tuple(frame.path for frame in one.frames)
