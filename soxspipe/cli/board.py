"""The table of jobs on a terminal: queued, running, done, failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from ..execution.job import JobResult
from ..text import escape
from .summary import verdict_words
from .terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Board", "outcome"]

#: Most jobs that the table shows: those that run, then those that failed, then the last that are done.
SHOWN = 15
STYLES = {"queued": "dim", "running": "cyan", "failed": "bold red", "done": "green", "was there": "green"}


class Board:
    """The state of several jobs as a table that changes on a terminal; nothing elsewhere.

    Parameters
    ----------
    names : sequence of str
        Names of the jobs.
    terminal : Terminal
        Where it is shown.
    """

    def __init__(self, names: Sequence[str], terminal: Terminal) -> None:
        self._names = names
        self._terminal = terminal
        self._states = ["queued"] * len(names)
        self._words = [""] * len(names)
        self._ended: list[int] = []

    def __enter__(self) -> Board:
        self._terminal.begin_table(self._table)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terminal.close()

    def show(self, number: int, result: JobResult | None) -> None:
        """Show that a job has begun, or that it has ended with a result."""
        if result is None:
            self._states[number] = "running"
        else:
            self._states[number], words = outcome(result)
            self._words[number] = f"{result.elapsed_s:.1f} s, {words}"
            self._ended.append(number)
        self._terminal.update_table()

    def _table(self) -> Table:
        from rich.table import Table

        counts = Counter(self._states)
        title = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
        table = Table(box=None, title=title, title_justify="left", show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True)
        order = [number for number, state in enumerate(self._states) if state == "running"]
        latest = self._ended[::-1]
        order += sorted(latest, key=lambda number: self._states[number] != "failed")
        for number in order[:SHOWN]:
            state = self._states[number]
            table.add_row(escape(self._names[number]), f"[{STYLES[state]}]{state}", self._words[number])
        return table


def outcome(result: JobResult) -> tuple[str, str]:
    """Return the state of a job that has ended, and its verdict or its error."""
    if result.product is None:
        return "failed", escape(result.errors[0])
    return "was there" if result.was_there else "done", verdict_words(result)
