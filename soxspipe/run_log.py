"""The log of one run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .text import escape

__all__ = ["run_log"]


@contextmanager
def run_log() -> Iterator[list[str]]:
    """Collect the log lines of a run, for the file beside its product.

    Whoever uses soxspipe as a library sees only what their own logging lets through: records pass on to
    the handlers above as if this one were not there.
    """
    lines: list[str] = []
    package = logging.getLogger("soxspipe")
    level, propagate = package.level, package.propagate
    threshold = package.getEffectiveLevel()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(escape(self.format(record)) + "\n")
            if propagate and record.levelno >= threshold and package.parent is not None:
                package.parent.handle(record)

    collector = Collector(logging.INFO)
    collector.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    package.addHandler(collector)
    package.setLevel(min(threshold, logging.INFO))
    package.propagate = False
    try:
        yield lines
    finally:
        package.removeHandler(collector)
        package.setLevel(level)
        package.propagate = propagate
