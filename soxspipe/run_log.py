"""Logs of runs: each is bound to its context, so that runs in two threads of one process keep their logs apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .text import escape

__all__ = ["Listener", "RunLog", "collect_log", "get_logger", "log_warning", "relay"]

#: Called with each record as it comes.
Listener = Callable[[logging.LogRecord], object]

_FORMATTER = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


class RunLog:
    """The records of one run.

    Parameters
    ----------
    listener : callable, optional
        Called with each record.
    outer : RunLog, optional
        Log of the run that this one is a part of: it gets the same records.

    Attributes
    ----------
    records : list of logging.LogRecord
        All records, in their order; their messages are formatted.
    """

    def __init__(self, listener: Listener | None = None, outer: RunLog | None = None) -> None:
        self.records: list[logging.LogRecord] = []
        self._listener, self._outer = listener, outer
        #: Whether this log or one around it has a listener.
        self.heard: bool = listener is not None or (outer is not None and outer.heard)

    def add(self, record: logging.LogRecord) -> None:
        """Add a record, here and to the logs around this one."""
        self.records.append(record)
        if self._listener is not None:
            self._listener(record)
        if self._outer is not None:
            self._outer.add(record)

    def text(self) -> str:
        """Return the records from level INFO on, one line each, as the log file of a product has them."""
        return "".join(
            escape(_FORMATTER.format(record)) + "\n" for record in self.records if record.levelno >= logging.INFO
        )


# a library user sees records once they have configured logging
logging.getLogger("soxspipe").addHandler(logging.NullHandler())

_current: ContextVar[RunLog | None] = ContextVar("soxspipe.run_log", default=None)


@contextmanager
def collect_log(listener: Listener | None = None) -> Iterator[RunLog]:
    """Collect what the loggers of this package record in this context.

    Parameters
    ----------
    listener : callable, optional
        Called with each record. It takes the place of the standard loggers: without one they get the records too.

    Yields
    ------
    RunLog
    """
    run_log = RunLog(listener, _current.get())
    token = _current.set(run_log)
    try:
        yield run_log
    finally:
        _current.reset(token)


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records go to the log of the current run, then to the standard logger of the same name."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Record a message; the level of the standard logger does not limit the log of the run."""
        file, line, function, _ = self.logger.findCaller(stacklevel=2)
        text = logging.LogRecord("", level, "", 0, msg, args, None).getMessage()
        relay([logging.LogRecord(self.logger.name, level, file, line, text, None, None, function)])


def get_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger that records to the log of the current run, and to the standard logger.

    Parameters
    ----------
    name : str
        Name of the standard logger: ``__name__`` of the module.

    Returns
    -------
    logging.LoggerAdapter
    """
    return _RunLogger(logging.getLogger(name))


def relay(records: Iterable[logging.LogRecord]) -> None:
    """Record here the records of another context or process."""
    run_log = _current.get()
    for record in records:
        if run_log is not None:
            run_log.add(record)
        logger = logging.getLogger(record.name)
        if (run_log is None or not run_log.heard) and logger.isEnabledFor(record.levelno):
            logger.handle(record)


def log_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Record a warning of another package; in place of ``warnings.showwarning`` in processes of this program."""
    get_logger("soxspipe").info("%s: %s", category.__name__, message)
