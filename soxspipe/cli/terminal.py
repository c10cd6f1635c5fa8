"""What the command line says and hears: results, log lines, errors, progress, signals."""

from __future__ import annotations

import _thread
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

from ..exceptions import SoxspipeError
from ..signals import STOPS
from ..text import escape

__all__ = ["Terminal", "Terminated", "deliver", "fault_lines"]

#: What hangs for so long while it cleans up after a stop is interrupted by another.
CLEANUP_S = 5.0
#: A stop that nobody handles is raised again after this time.
AGAIN_S = 0.05

#: As many faults are told one by one.
MOST_FAULTS = 20

BAR_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {remaining} left"

_log = logging.getLogger("soxspipe")


class Terminated(BaseException):
    """A signal asks to stop; not an Exception, so that nothing but ``finally`` handles it on the way."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__("interrupted" if signum == signal.SIGINT else "terminated")


def _is_handled(fault: BaseException | None) -> bool:
    """Tell whether code that runs for an exception, as ``finally`` does, runs for a stop."""
    while fault is not None and not isinstance(fault, Terminated):
        fault = fault.__context__
    return fault is not None


class _Lines(logging.Formatter):
    """One line a record, and a traceback below it only where that is asked for."""

    def __init__(self, colour: bool, tracebacks: bool) -> None:
        super().__init__()
        self.words = {logging.ERROR: "error", logging.WARNING: "warning"}
        if colour:
            self.words = {logging.ERROR: "\033[31merror\033[0m", logging.WARNING: "\033[33mwarning\033[0m"}
        self.tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as it stands on standard error."""
        text = escape(record.getMessage())
        if record.levelno >= logging.WARNING:
            text = f"soxspipe: {self.words[min(record.levelno // 10 * 10, logging.ERROR)]}: {text}"
        if self.tracebacks and record.exc_info:
            text = "\n".join([text, *map(escape, self.formatException(record.exc_info).splitlines())])
        return text


class Terminal(logging.StreamHandler[TextIO]):
    """Standard error: log lines, errors, and a progress bar where a person may be looking."""

    def __init__(self) -> None:
        super().__init__(io.StringIO() if sys.stderr is None else sys.stderr)
        self.watched = self.stream.isatty()
        self.bar: Any = None
        self._signum = 0
        self.set_verbosity(quiet=False, verbose=0)

    @contextlib.contextmanager
    def stoppable(self, *, to_the_end: bool = False) -> Iterator[None]:
        """Turn signals that ask to stop into exceptions; one that the caller ignores stays ignored.

        An exception may get lost where it hits: a callback cannot raise it, and some extension modules drop whatever
        is raised while they are imported. So the stop is raised again until someone handles it; meanwhile, as for
        whoever asks twice, it does not interrupt the cleaning up.

        Parameters
        ----------
        to_the_end : bool
            Whether the program ends after this: then they are ignored, as all has been said and its exit code is known.
        """
        if threading.current_thread() is not threading.main_thread():  # signals are another's
            yield
            return
        thread, lock = threading.get_ident(), threading.Lock()
        begin_s, starting, over = 0.0, False, False

        def stop(signum: int, frame: FrameType | None) -> None:
            nonlocal begin_s, starting
            # what the hook raises would be printed; and nothing keeps the thread from being started
            if over or starting or (frame is not None and frame.f_code is not_raised.__code__):
                return
            if not self._signum:
                starting = True
                try:
                    self._signum, begin_s = signum, time.monotonic()
                    with contextlib.suppress(RuntimeError, MemoryError):
                        _thread.start_new_thread(ask_again, ())
                finally:
                    starting = False
            if not _is_handled(sys.exception()) or time.monotonic() - begin_s > CLEANUP_S:
                raise Terminated(self._signum)

        def ask_again() -> None:
            while not over:
                time.sleep(AGAIN_S)
                with lock:
                    if not over and time.monotonic() - begin_s < CLEANUP_S:
                        signal.pthread_kill(thread, self._signum)

        def not_raised(lost: sys.UnraisableHookArgs) -> None:
            if not isinstance(lost.exc_value, Terminated):
                hook(lost)

        hook, sys.unraisablehook = sys.unraisablehook, not_raised
        handlers = {}
        for signum in STOPS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                handlers[signum] = signal.signal(signum, stop)
        try:
            yield
        finally:
            over = True  # before anything else: from here on nothing is raised
            with lock:  # nor asked for
                signal.pthread_sigmask(signal.SIG_BLOCK, ())  # which handles those that came just before
            sys.unraisablehook = hook
            for signum, handler in handlers.items():
                signal.signal(signum, signal.SIG_IGN if to_the_end else signal.SIG_DFL if handler is None else handler)

    def set_verbosity(self, quiet: bool, verbose: int) -> None:
        """Choose how much is said."""
        self.setLevel(logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
        colour = self.watched and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.setFormatter(_Lines(colour, tracebacks=verbose >= 2))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, above the progress bar."""
        if self.bar is not None:
            self.bar.clear()
        super().emit(record)

    @contextlib.contextmanager
    def kept(self) -> Iterator[io.StringIO]:
        """Keep what would be written, for whoever may write; nobody watches it meanwhile."""
        page, stream, watched = io.StringIO(), self.stream, self.watched
        self.setStream(page)
        self.watched = False
        try:
            yield page
        finally:
            self.setStream(stream)
            self.watched = watched

    def say(self, text: str) -> None:
        """Write what was kept; like a log line, it is no fault where it cannot be written."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
            self.flush()

    def report(self, error: Exception) -> int:
        """Write what an exception says, one line a fault, and return the exit code for it.

        Raises
        ------
        Stopped
            When a stop had been asked for. It may hit where another exception takes its place, in clean-up code or in
            that of other packages (as in ``ndarray.tofile`` of NumPy, which takes any exception for a yes).
        """
        if self._signum:
            raise Terminated(self._signum) from error
        *faults, last = fault_lines(error)
        for fault in faults:
            _log.error("%s", fault)
        _log.error("%s", last, exc_info=error)
        return error.exit_code if isinstance(error, SoxspipeError) else 1

    @contextlib.contextmanager
    def progress(self, words: str) -> Iterator[Callable[[int, int], None] | None]:
        """Give a function that shows how much is done; none where nobody looks, or log lines tell it."""
        if not self.watched or self.level != logging.WARNING:
            yield None
            return

        def show(done: int, total: int) -> None:
            if self.bar is None:
                from tqdm import tqdm

                tqdm.monitor_interval = 0  # no thread beside the work
                self.bar = tqdm(desc=words, total=total, file=self.stream, leave=False, bar_format=BAR_FORMAT)
            self.bar.update(done - self.bar.n)

        try:
            yield show
        finally:
            if self.bar is not None:
                self.bar.close()
                self.bar = None


def fault_lines(error: Exception) -> tuple[str, ...]:
    """Return the lines that tell a user of an exception; no more than a terminal shows."""
    if isinstance(error, SoxspipeError) and error.faults:
        more = len(error.faults) - MOST_FAULTS
        return error.faults if more <= 0 else (*error.faults[:MOST_FAULTS], f"and {more} more faults")
    if isinstance(error, MemoryError):
        return ("not enough memory",)
    if isinstance(error, OSError) and error.strerror:
        return (f"{error.filename}: {error.strerror}" if error.filename else error.strerror,)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return (f"{what}: a fault of soxspipe, please report it with what -v -v prints",)


def deliver(text: str) -> None:
    """Write a result to standard output; whatever bytes a file name has are written as they are."""
    if sys.stdout is None:
        return
    try:
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except UnicodeEncodeError:
            sys.stdout.buffer.write(os.fsencode(text + "\n"))
            sys.stdout.flush()
    except OSError as error:
        # Python writes what is left once more when it ends: let that succeed
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # a reader who has seen enough is no fault
            raise OSError(error.errno, error.strerror, "standard output") from error
