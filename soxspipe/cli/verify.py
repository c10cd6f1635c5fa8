"""The command that verifies a master."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..products.atomic_files import write_file
from ..recipes.verify import VerifiedMaster, verify_master
from ..run_log import get_logger
from ..text import escape, range_words
from .run_options import settings_option
from .terminal import Terminal, write_result
from .usage import path_argument, workers_argument

if TYPE_CHECKING:
    from ..comparison import Check, VerifiedFrame

__all__ = ["run", "table_text", "verdict_text"]

_log = get_logger(__name__)

#: Exit code for a frame that does not meet a criterion.
OUT_OF_RANGE = 3
#: Criteria in the table, with the digits of their values; that of the worst amplifier is shown.
COLUMNS = {
    "level": ".2f", "drift": ".2f", "noise": ".3f", "cosmic rays": ".3f", "outliers": ".4f", "rows": ".2f",
    "structure": ".2f", "worst box": ".1f", "hot pixels": ".3f", "overscan": ".3f", "temperature": ".2f",
}  # fmt: skip


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Verify a master with raw frames, write the verdict, and return the exit code."""
    paths = {
        name: None if options[name] is None else path_argument(options[name], name)
        for name in ("--calibrations", "--output")
    }
    verified = verify_master(
        path_argument(options["<master>"], "master"),
        [path_argument(frame, "frame") for frame in options["<frame>"]],
        settings_option(options),
        calibrations_dir=paths["--calibrations"],
        workers=workers_argument(options["--workers"]),
    )
    for line in verified.warnings:
        _log.warning("%s", line)
    document = json.dumps(verified.record(), indent=2, allow_nan=False)
    if paths["--output"] is not None:
        remedy = "choose another name, or --overwrite"
        write_file(Path(paths["--output"]), f"{document}\n", overwrite=options["--overwrite"], remedy=remedy)
    write_result(document if options["--json"] else verdict_text(verified))
    return OUT_OF_RANGE if options["--strict"] and not verified.verification.passed else 0


def verdict_text(verified: VerifiedMaster) -> str:
    """Return the verdict for a person: a line for each frame, and for each criterion that it does not meet."""
    frames = verified.verification.frames
    used = [name for name in COLUMNS if any(frame.worst(name) for frame in frames)]
    rows = [["frame", "of master", "pull", "noise e-", *used, "verdict"]]
    rows += [_row(frame, used) for frame in frames]
    lines = [table_text(rows, left=1)]
    failed = verified.verification.failed
    if failed:
        lines += ["", *(f"{escape(name)}: {_words(check)}" for name, check in failed)]
    n_checks = sum(len(frame.checks) for frame in frames)
    n_failed = f"{len(failed)} of {n_checks} checks failed" if failed else f"{n_checks} checks"
    return "\n".join([*lines, "", f"verdict: {'PASS' if verified.verification.passed else 'FAIL'} ({n_failed})"])


def _row(frame: VerifiedFrame, used: Sequence[str]) -> list[str]:
    cells = []
    for name in used:
        check = frame.worst(name)
        cells.append("" if check is None else f"{check.value:z{COLUMNS[name]}}" + ("" if check.passed else "!"))
    of_master = "yes" if frame.in_master else "no"
    verdict = "FAIL" if frame.failed else "ok"
    return [escape(frame.name), of_master, f"{frame.pull:.3f}", f"{frame.noise_e:.2f}", *cells, verdict]


def _words(check: Check) -> str:
    """Return a failed check in words."""
    where = "" if check.amplifier is None else f" of amplifier {check.amplifier}"
    where += "" if check.x is None else f" at x = {check.x}, y = {check.y}"
    unit = f" {check.unit}" if check.unit else ""
    expected = range_words(check.low, check.high, ".4g")
    return f"{check.criterion}{where} is {check.value:.4g}{unit}, expected {expected}{unit}"


def table_text(rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Return rows as text with aligned columns.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first one is the heading.
    left : int
        Columns that are aligned on the left; the others are on the right.

    Returns
    -------
    str
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
