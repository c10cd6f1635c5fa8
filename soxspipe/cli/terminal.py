"""Standard output and standard error of the command line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from ..parallel import Progress
from ..signals import Terminated
from ..text import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.progress import Progress as ProgressBar

    from ..execution.job import JobResult

__all__ = ["Terminal", "write_result"]

#: Characters of a line where no terminal has a width.
LOG_WIDTH = 240
#: How a table or bar is shown: drawn when it changes, by no thread; the streams of the process stay as they are.
LIVE: dict[str, Any] = {"auto_refresh": False, "transient": True, "redirect_stdout": False, "redirect_stderr": False}


class Terminal:
    """Standard error: messages, errors, and a progress bar where a person may watch it."""

    def __init__(self) -> None:
        self._stream = io.StringIO() if sys.stderr is None else sys.stderr
        self._watched = self._stream.isatty()
        self._coloured = self._watched and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._bar: ProgressBar | None = None
        #: The table or the progress bar that is shown.
        self._live: Live | ProgressBar | None = None
        self.level = logging.WARNING

    def set_verbosity(self, quiet: bool, verbose: int) -> None:
        """Choose the level of the messages that are shown."""
        self.level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]

    def begin_table(self, table: Callable[[], RenderableType]) -> None:
        """Show a table that changes, where a person watches; messages are written above it."""
        if not self._watched or self.level > logging.WARNING:
            return
        from rich.live import Live

        self._live = Live(get_renderable=table, console=self._console(), **LIVE)
        self._live.start()

    @property
    def has_table(self) -> bool:
        """Whether a table shows how the jobs go."""
        return self._live is not None

    def update_table(self) -> None:
        """Show the table as it is now."""
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                self._live.refresh()

    @contextlib.contextmanager
    def without_table(self) -> Iterator[None]:
        """Take the table away while standard output, which may be the same terminal, gets a result."""
        table = None if self._live is None else self._live.get_renderable
        self.close()
        try:
            yield
        finally:
            if table is not None:
                self.begin_table(table)  # a table that is started again would erase the result

    def _console(self) -> Console:
        """Return standard error as rich writes to it; without a terminal as plain text in wide lines."""
        from rich.console import Console

        return Console(
            file=self._stream,
            force_terminal=self._watched,
            no_color=not self._coloured,
            width=None if self._watched else LOG_WIDTH,
            highlight=False,
        )

    def inform(self, line: str) -> None:
        """Write a line that is no warning; nothing where only errors are wanted."""
        if self.level <= logging.WARNING:
            self.write(line)

    def show_figures(self, results: Sequence[tuple[str, JobResult]]) -> None:
        """Show the figures of products that matter most: of one where a person watches, of several in any case."""
        if self.level > logging.WARNING or not (self._watched or len(results) > 1):
            return
        from .summary import figures_table, summary_table

        with contextlib.suppress(OSError, ValueError):
            self._console().print(summary_table(results) if len(results) > 1 else figures_table(results[0][1]))

    def write(self, line: str) -> None:
        """Write a line, above the table or the progress bar; it is no error where this fails."""
        with contextlib.suppress(OSError, ValueError):
            if self._live is not None:
                self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
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
                from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

                columns = TextColumn("{task.description}:"), TaskProgressColumn(), BarColumn(), TimeRemainingColumn()
                self._live = self._bar = Progress(*columns, console=self._console(), **LIVE)
                self._bar.add_task(label, total=total)
                self._bar.start()
            self._bar.update(self._bar.task_ids[0], completed=done, refresh=True)
            if done >= total:
                self.close()

        return show

    def close(self) -> None:
        """Remove table and progress bar."""
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                self._live.stop()
        self._live = self._bar = None


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
