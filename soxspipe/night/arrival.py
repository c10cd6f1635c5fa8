"""Frames that arrive: a signal when a folder changes, and which sets of a plan are complete."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..inputs.set_of_files import FITS_NAME
from .find_frames import NightFile
from .plan import Plan, PlannedSet

__all__ = ["complete_sets", "damaged_files", "folder_changes"]


@contextmanager
def folder_changes(folders: Sequence[str]) -> Iterator[threading.Event]:
    """Return an event that is set whenever a file below some folders changes.

    Where the system gives no events of a folder, the folder is polled. Changes that another machine makes on a network
    disk give no event at all: look at the folders from time to time too.

    Parameters
    ----------
    folders : sequence of str
        Folders.

    Yields
    ------
    threading.Event
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer
    from watchdog.observers.polling import PollingObserver

    changed = threading.Event()

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type not in ("opened", "closed_no_write"):  # reading a file is no change
                changed.set()

    def start(observer: Any) -> Any:
        for folder in folders:
            observer.schedule(Handler(), folder, recursive=True)
        observer.start()
        return observer

    try:
        observer = start(Observer())
    except OSError:  # no more inotify watches
        observer = start(PollingObserver())
    try:
        yield changed
    finally:
        observer.stop()
        observer.join()


def complete_sets(plan: Plan, quiet_s: float, now_s: float | None = None) -> list[PlannedSet]:
    """Return the sets of a plan to which no more frames will come.

    A set is complete when it has all frames of its template (``ESO TPL NEXP``), or when nothing in the folders of its
    frames has changed for a while. A file that cannot be read yet is still being written and counts as such a change.
    A set waits for another one in the plan whose product it needs. One that lacks a calibration waits until nothing has
    changed in any folder for that time: the calibration may come later.

    Parameters
    ----------
    plan : Plan
        The plan.
    quiet_s : float
        Time without a change, second.
    now_s : float, optional
        Time of the clock, second; default: now.

    Returns
    -------
    list of PlannedSet
        In the order of the plan.
    """
    now_s = time.time() if now_s is None else now_s
    newest: dict[str, float] = {}
    frames = [frame for one in plan.sets for frame in one.frames]
    for file in (*frames, *(file for file in plan.left_out if FITS_NAME.fullmatch(file.name))):
        folder = os.path.dirname(file.path)
        newest[folder] = max(newest.get(folder, 0.0), _changed_s(file))
    all_quiet = all(now_s - time_s >= quiet_s for time_s in newest.values())
    complete: list[PlannedSet] = []
    for one in plan.reducible:
        if one.lacks and not all_quiet:
            continue
        expected = one.frames[0].run_frames
        quiet = all(now_s - newest[os.path.dirname(frame.path)] >= quiet_s for frame in one.frames)
        needs = {two.candidate.product for two in one.attached if not os.path.exists(two.candidate.path)} - {""}
        if (quiet or 0 < expected <= len(one.frames)) and needs <= {other.name for other in complete}:
            complete.append(one)
    return complete


def damaged_files(plan: Plan, quiet_s: float) -> list[NightFile]:
    """Return the files of a plan that have a fault and have not changed for a while: those are not being written."""
    return [file for file in plan.left_out if file.is_fault and time.time() - _changed_s(file) >= quiet_s]


def _changed_s(file: NightFile) -> float:
    try:
        return os.stat(file.path).st_mtime
    except OSError:
        return 0.0
