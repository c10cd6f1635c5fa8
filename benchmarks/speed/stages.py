"""Reduce a set of files and write the seconds of each stage as JSON: ``stages SOF RESULT [OPTION ...]``.

It puts a watch on public functions wherever they are used; what a later version no longer has is not told apart from
the rest. It imports little itself, so that the imports of the reduction can be counted.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

IMPORTS, REST = "imports", "the rest"
NOISE, BACKGROUND, FIGURES, WRITING = "noise model", "local background", "quality figures", "write the product"
READING, COMBINING, CLIPPING = "read and convert pixels", "mean and scatter", "clip, noise, errors"
#: Stage, module and name of what is watched, in the order of the table. Time within a watched function that another
#: watched one uses is that of the other.
STAGES = (
    ("verify the set", "soxspipe.inputs.raw_frames", "collect_frames"),
    (NOISE, "soxspipe.stacking", "measure_noise"),
    (READING, "soxspipe.inputs.prepare", "PreparedFrames.read"),
    (COMBINING, "soxspipe.stacking.band_combiner", "mean_of"),
    (COMBINING, "soxspipe.stacking.band_combiner", "std_of"),
    (CLIPPING, "soxspipe.stacking", "clip_and_stack"),
    (BACKGROUND, "soxspipe.stacking.background", "measure_background"),
    ("bad pixels", "soxspipe.stacking", "create_noise_map"),
    (FIGURES, "soxspipe.quality.dark", "dark_quality"),
    (WRITING, "soxspipe.products.master_files", "master_file"),
    (WRITING, "soxspipe.products.product_files", "Product.add_fits"),
    (WRITING, "soxspipe.products.product_files", "Product.add_json"),
    (WRITING, "soxspipe.products.product_files", "Product.add_text"),
    (WRITING, "soxspipe.products.product_files", "Product.commit"),
)
#: What is the stack, and what together is to cost less.
STACK, BESIDE = (READING, COMBINING, CLIPPING), (NOISE, BACKGROUND, FIGURES, WRITING)


class Watch:
    """Seconds of each stage; of stages within others only the innermost runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stages = [REST]
        self._since = time.perf_counter()
        self._thread = threading.get_ident()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stages[-1]] = self.seconds.get(self._stages[-1], 0.0) + now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens within as this stage, where it happens in the thread that the watch was made in."""
        if not self.here():
            yield
            return
        self._turn()
        self._stages.append(name)
        try:
            yield
        finally:
            self._turn()
            self._stages.pop()

    def here(self) -> bool:
        """Whether this is the thread that the watch was made in."""
        return threading.get_ident() == self._thread

    def stop(self) -> dict[str, float]:
        """Return the seconds of all stages."""
        self._turn()
        return self.seconds

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is counted as a stage."""

        @wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            with self.stage(stage):
                return function(*arguments, **options)

        return counted


def watched(watch: Watch, arguments: Sequence[str]) -> int:
    """Run the command line with a watch on its stages; return the exit code."""
    pending = {entry[1:]: entry[0] for entry in STAGES}
    before = builtins.__import__, importlib.import_module
    importing = False

    def counted(load: Callable[..., Any]) -> Callable[..., Any]:
        def outermost(*given: Any, **options: Any) -> Any:
            nonlocal importing
            if importing or not watch.here():
                return load(*given, **options)
            importing = True
            try:
                with watch.stage(IMPORTS):
                    return load(*given, **options)
            finally:
                importing = False
                _hook(watch, pending)

        return outermost

    builtins.__import__, importlib.import_module = counted(before[0]), counted(before[1])
    try:
        from soxspipe.cli.command_line import main as command_line

        return command_line(arguments)
    finally:
        builtins.__import__, importlib.import_module = before
        for module, name in pending:
            print(f"{module}.{name}: was not there, not told apart from the rest", file=sys.stderr)


def _hook(watch: Watch, pending: dict[tuple[str, str], str]) -> None:
    """Put the watch on what has been imported and is not watched yet, under every name that it goes by."""
    for (module, name), stage in list(pending.items()):
        *path, last = name.split(".")
        owner: Any = sys.modules.get(module)
        try:
            for part in path:
                owner = getattr(owner, part)
            function = owner.__dict__[last]
        except (AttributeError, KeyError):  # not imported yet, or no longer there
            continue
        counted = watch.wrap(stage, function)
        setattr(owner, last, counted)
        if not path:
            for user in [user for key, user in sys.modules.items() if key.split(".")[0] == "soxspipe"]:
                for alias in [alias for alias, value in vars(user).items() if value is function]:
                    setattr(user, alias, counted)
        del pending[module, name]


def main() -> int:
    """Reduce the set of this process's arguments and write the seconds of each stage."""
    watch = Watch()
    sof, result, *options = sys.argv[1:]
    code = watched(watch, ["mdark", sof, "--output=.", *options])
    Path(result).write_text(json.dumps(watch.stop()))
    gc.freeze()  # as the program itself ends
    return code


if __name__ == "__main__":
    sys.exit(main())
