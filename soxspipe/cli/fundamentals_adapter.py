"""The one door to `fundamentals`: its settings loading and its words for a run time, not their side effects.

Left to itself, ``fundamentals.tools`` merges settings from files that it finds in the working directory and
in folders above its caller, executes the values of arguments, opens database connections that settings ask
for, needs the variable HOME, changes the variable TERM and may leave the program. So it sees nothing of the
command line, only a file that `load_settings` wrote of checked values, and its answer is checked again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from ..options import parse_yaml, read_yaml_text
from ..settings import Settings

__all__ = ["elapsed_words", "load_settings"]

_log = logging.getLogger(__name__)

#: ``fundamentals`` executes the name of its settings file inside quotes: these characters mean nothing there.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./+-]+")


def load_settings(path: str | Path) -> Settings:
    """Load a settings file, with ``fundamentals`` as a second reader.

    Parameters
    ----------
    path : str or pathlib.Path
        The file of a user; only `soxspipe.settings` opens it.

    Returns
    -------
    Settings
        As `Settings.load` reads them. Where ``fundamentals`` reads something else, a warning is logged.

    Raises
    ------
    SettingsError
        With all faults at once, one line a fault.
    """
    path = Path(os.path.expanduser(path))
    mapping, faults = parse_yaml(read_yaml_text(path), str(path))
    settings = Settings.from_mapping(mapping, str(path), path.parent, faults)
    try:
        second = Settings.from_mapping(_read_by_fundamentals(mapping), str(path), path.parent)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises, the first reading stands
        reason = " ".join(str(error).split()) or type(error).__name__
        _log.warning("%s: fundamentals cannot read these settings (%s): used as soxspipe reads them", path, reason)
    else:
        if second != settings:
            _log.warning("%s: fundamentals reads other values than soxspipe: used as soxspipe reads them", path)
    return settings


def elapsed_words(start_s: float, end_s: float) -> str:
    """Return the time between two instants, seconds since an epoch, in words such as ``1m 12s``."""
    elapsed = timedelta(seconds=round(end_s - start_s))  # it counts whole seconds
    start = datetime(2000, 1, 1)
    try:
        with _contained(os.sep):
            from fundamentals import times

            return str(times.calculate_time_difference(f"{start:%FT%T}", f"{start + elapsed:%FT%T}")).strip()
    except (Exception, SystemExit):  # noqa: BLE001 - no reduction fails for want of these words
        return f"{elapsed.total_seconds():.0f}s"


def _read_by_fundamentals(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what ``fundamentals`` reads from a private copy of checked settings."""
    with _private_folder() as folder:
        copy = Path(folder, "settings.yaml")
        copy.write_text(yaml.safe_dump(dict(mapping), sort_keys=False), encoding="ascii")
        # the first of the files that it looks for in the working directory; found, it looks for no other
        Path(folder, "rubbish.yaml").write_text("{}\n", encoding="ascii")
        with _contained(folder):
            from fundamentals import tools

            _, settings, _, _ = tools(
                arguments={"--settings": str(copy)},
                docString=None,
                projectName="soxspipe",
                createLogger=False,
                quitIfRunning=False,
            ).setup()
    if not isinstance(settings, Mapping):
        raise TypeError("it found no mapping")
    return {key: settings[key] for key in mapping if key in settings}


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    """Make a temporary folder whose name has plain characters only, and remove it."""
    parent = tempfile.gettempdir()
    if not _PLAIN_NAME.fullmatch(parent):
        parent = "/tmp"
    with tempfile.TemporaryDirectory(prefix="soxspipe-", dir=parent) as folder:
        yield folder


@contextlib.contextmanager
def _contained(folder: str) -> Iterator[None]:
    """Let ``fundamentals`` take ``folder`` for the working directory, and undo what it changes."""
    working_directory = os.getcwd
    variables = {name: os.environ.get(name) for name in ("TERM", "HOME")}
    os.environ["HOME"] = os.path.expanduser("~")  # it fails without one
    os.getcwd = lambda: folder
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.getcwd = working_directory
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
