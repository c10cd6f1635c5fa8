"""Reduce a set with one worker and write the seconds of each stage as JSON: ``stages SOF RESULT``."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

IMPORTS, REST = "imports", "the rest"
NOISE, BACKGROUND, FIGURES, WRITING = "noise model", "local background", "quality figures", "write the product"
READING, COMBINING, CLIPPING = "read and convert pixels", "mean and scatter: Combiner", "clip, noise, errors"
#: Stage, module and name of each watched function, in the order of the table. A stage within another one counts for
#: the inner one.
STAGES = (
    ("verify the set", "soxspipe.inputs.raw_frames", "collect_frames"),
    (NOISE, "soxspipe.stacking", "measure_noise"),
    (READING, "soxspipe.inputs.prepare", "PreparedFrames.read"),
    (COMBINING, "ccdproc", "Combiner.__init__"),
    (COMBINING, "ccdproc", "Combiner.average_combine"),
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
#: The stages of the stack, and the stages that together should take less time.
STACK, OTHERS = (READING, COMBINING, CLIPPING), (NOISE, BACKGROUND, FIGURES, WRITING)
#: Imported before the reduction, so that imports are a stage of their own.
MODULES = ("soxspipe.cli.command_line", "soxspipe.execution", "soxspipe.recipes", "docopt", "ccdproc")


class Watch:
    """Seconds of each stage; within nested stages only the innermost one counts.

    Attributes
    ----------
    seconds : dict
        Seconds by stage.
    idle : set of str
        Names of the counted functions that were not called.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.idle: set[str] = set()
        self._stages = [REST]
        self._since = time.perf_counter()

    def _count(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stages[-1]] = self.seconds.get(self._stages[-1], 0.0) + now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within this context for a stage."""
        self._count()
        self._stages.append(name)
        try:
            yield
        finally:
            self._count()
            self._stages.pop()

    def stop(self) -> dict[str, float]:
        """Return the seconds of all stages."""
        self._count()
        return self.seconds

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts for a stage."""
        name = f"{function.__module__}.{function.__qualname__}"
        self.idle.add(name)

        @wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            self.idle.discard(name)
            with self.stage(stage):
                return function(*arguments, **options)

        return counted


def replace_functions(watch: Watch) -> None:
    """Replace each function of `STAGES` by a counted one, in all modules of this package that have imported it.

    Raises
    ------
    AttributeError
        When a function does not exist.
    """
    package = [module for name, module in sys.modules.items() if name.partition(".")[0] == "soxspipe"]
    for stage, module, name in STAGES:
        path, _, last = name.rpartition(".")
        owner = pkgutil.resolve_name(f"{module}:{path}")
        function = getattr(owner, last)
        counted = watch.wrap(stage, function)
        setattr(owner, last, counted)
        for user in package:
            for alias in [alias for alias, value in vars(user).items() if value is function]:
                setattr(user, alias, counted)


def main() -> int:
    """Reduce the set in the arguments of this process, and write the seconds of each stage.

    Raises
    ------
    AttributeError, RuntimeError
        When a function of `STAGES` does not exist, or was not called.
    """
    watch = Watch()
    sof, result = sys.argv[1:]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does before it imports NumPy
    with watch.stage(IMPORTS):
        modules = {name: importlib.import_module(name) for name in (*MODULES, *(module for _, module, _ in STAGES))}
    replace_functions(watch)
    code: int = modules["soxspipe.cli.command_line"].main(["mdark", sof, "--output=.", "--workers=1"])
    Path(result).write_text(json.dumps(watch.stop()))
    if code == 0 and watch.idle:
        raise RuntimeError(f"not called: {', '.join(sorted(watch.idle))}: correct STAGES")
    return code


if __name__ == "__main__":
    sys.exit(main())
