"""Compare master darks of simulated detectors with the truth.

Prints the promises with their measurements, and writes the tables and the figures of the documentation. Run it in the
folder of the project: ``python -m benchmarks.accuracy``. The exit code is 1 when a promise does not hold.
The small frames of ``--quick`` have few false codes and few outliers: there a promise may fail by chance.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from .figures import draw
from .promises import check
from .run import run
from .tables import as_rst, as_text, tables
from .upstream import INSTALL, UPSTREAM_VERSION, python_with_soxspipe


def main(arguments: list[str] | None = None) -> int:
    """Run all measurements and return the exit code."""
    options = _parse(arguments)
    started = time.perf_counter()
    results = run(options.quick, options.workers, options.peer_python)
    checks = check(results)
    arranged = tables(results, checks)
    for table in arranged:
        print(as_text(table))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        # the command without the paths of this machine
        command = "python -m benchmarks.accuracy" + (" --quick" if options.quick else "")
        text = as_rst(arranged, command, time.perf_counter() - started)
        (options.output / "accuracy_table.inc").write_text(text, encoding="utf-8")
        draw(results, options.output / "images")
    failed = [line for line in checks if not line.holds]
    seconds = time.perf_counter() - started
    print(f"{len(checks) - len(failed)} of {len(checks)} promises hold; {seconds:.0f} s", file=sys.stderr)
    return 1 if failed else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small frames, under a minute; writes no files by default")
    parser.add_argument(
        "--output", type=Path, help="folder of the tables and, in images/, the figures (default: docs; none if quick)"
    )
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes (default: 2)")
    parser.add_argument("--peer-python", help=f"Python of an environment with upstream soxspipe {UPSTREAM_VERSION}")
    options = parser.parse_args(arguments)
    if options.output is None and not options.quick:
        options.output = Path(__file__).parents[2] / "docs"
    if options.peer_python is None:
        print(f"upstream soxspipe {UPSTREAM_VERSION} is left out. To compare with it: {INSTALL}", file=sys.stderr)
    elif (python := python_with_soxspipe(options.peer_python)) is None:
        parser.error(f"{options.peer_python} has no soxspipe. To install it: {INSTALL}")
    else:
        options.peer_python = python
    return options


if __name__ == "__main__":
    sys.exit(main())
