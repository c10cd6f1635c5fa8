"""Standard output and standard error of the command line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from ..signals import Terminated
from ..text import escape

if TYPE_CHECKING:
    from ..execution.job import JobResult
    from ..recipes.base_recipe import Progress

__all__ = ["Terminal", "write_result"]

BAR_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {remaining} left"


class Terminal:
    """Standard error: messages, errors, and a progress bar where a person may watch it."""

    def __init__(self) -> None:
        self._stream = io.StringIO() if sys.stderr is None else sys.stderr
        self._watched = self._stream.isatty()
        self._coloured = self._watched and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._bar: Any = None
        self.level = logging.WARNING

    def set_verbosity(self, quiet: bool, verbose: int) -> None:
        """Choose the level of the messages that are shown."""
        self.level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]

    def write(self, line: str) -> None:
        """Write a line, above the progress bar; it is no error where this fails."""
        if self._bar is not None:
            self._bar.clear()
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def _write_marked(self, word: str, colour: int, text: str) -> None:
        mark = f"\033[{colour}m{word}\033[0m" if self._coloured else word
        self.write(f"soxspipe: {mark}: {escape(text)}")

    def show(self, record: logging.LogRecord) -> None:
        """Show a record of the log."""
        if record.levelno < self.level:
            return
        if record.levelno >= logging.WARNING:
            self._write_marked("warning", 33, record.getMessage())
        else:
            self.write(escape(record.getMessage()))

    def show_errors(self, result: JobResult) -> int:
        """Show the errors of a job, one line each, and return its exit code; show the traceback where all is shown."""
        for line in result.errors:
            self._write_marked("error", 31, line)
        if self.level == logging.DEBUG:
            for line in result.traceback.splitlines():
                self.write(escape(line))
        return result.exit_code

    def show_exception(self, error: BaseException) -> int:
        """Show an exception and return its exit code."""
        if isinstance(error, Exception):
            from ..execution.job import failed

            return self.show_errors(failed(error))
        self._write_marked("error", 31, "terminated" if isinstance(error, Terminated) else "interrupted")
        return error.exit_code if isinstance(error, Terminated) else 128 + signal.SIGINT

    def progress(self, label: str) -> Progress | None:
        """Return a function that shows how much is done; None where no person watches, or messages show it."""
        if not self._watched or self.level != logging.WARNING:
            return None

        def show(done: int, total: int) -> None:
            if self._bar is None:
                from tqdm import tqdm

                tqdm.monitor_interval = 0  # no thread beside the work
                self._bar = tqdm(
                    desc=label, total=total, file=self._stream, leave=False, bar_format=BAR_FORMAT, mininterval=0
                )
            self._bar.update(done - self._bar.n)
            if done >= total:
                self.close()

        return show

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def write_result(text: str) -> None:
    """Write a result to standard output; a file name that is no valid text is written with its bytes."""
    if sys.stdout is None:
        return
    try:
        try:
            sys.stdout.write(f"{text}\n")
        except UnicodeEncodeError:
            sys.stdout.buffer.write(os.fsencode(f"{text}\n"))
        sys.stdout.flush()
    except OSError as error:
        # when Python ends it flushes the stream once more: let that succeed
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # a reader who has read enough is no error
            raise OSError(error.errno, error.strerror, "standard output") from error
