"""Give hostile bytes to a target for some minutes: ``python -m tests.fuzz sof --minutes=10``.

With atheris installed the coverage of the code guides the mutations; without it they are random. An input
that breaks a rule, or takes more than `SECONDS` or `MEGABYTES`, ends the run and is kept in the folder
of the corpus, ``crash-...``.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["soxspipe", "yaml", "gzip"]) if atheris else contextlib.nullcontext():
    from . import targets
    from .mutations import mutated

SECONDS, MEGABYTES = 2, 512


def run_at_random(check: Any, inputs: list[bytes], minutes: float, corpus: Path, seed: int) -> None:
    """Mutate inputs at random, and keep those that break a rule."""

    def hang(*_: Any) -> None:
        raise AssertionError(f"took more than {SECONDS} s")

    rng = random.Random(seed)
    signal.signal(signal.SIGALRM, hang)
    start, count, failures = time.monotonic(), 0, 0
    while time.monotonic() - start < 60 * minutes:
        data = mutated(rng.choice(inputs), rng)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - all of them are findings
            failures += 1
            path = corpus / f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
            path.write_bytes(data)
            print(f"{path}: {type(error).__name__}: {str(error)[:300]}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        count += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{count} inputs in {time.monotonic() - start:.0f} s, {failures} failures, peak {peak} MB")


def main() -> None:
    """Run one target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir(), "soxspipe-fuzz"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="without atheris")
    options = parser.parse_args()
    faulthandler.enable()
    logging.getLogger("soxspipe").addHandler(logging.NullHandler())
    logging.getLogger("soxspipe").propagate = False
    corpus = options.corpus / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    inputs = targets.seeds(options.target)
    with tempfile.TemporaryDirectory(prefix="soxspipe-fuzz-") as folder:
        os.chdir(folder)

        def check(data: bytes) -> None:
            targets.check(options.target, data, Path(folder))

        for data in inputs:  # late imports happen now
            check(data)
        if atheris is None or options.random:
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            resource.setrlimit(resource.RLIMIT_DATA, (used + MEGABYTES * 2**20, resource.RLIM_INFINITY))
            run_at_random(check, inputs, options.minutes, corpus, options.seed)
            return
        for number, data in enumerate(inputs):
            (corpus / f"seed-{number}").write_bytes(data)

        def mutate(data: bytes, largest: int, seed: int) -> bytes:
            rng = random.Random(seed)
            return mutated(data, rng)[:largest] if rng.random() < 0.5 else atheris.Mutate(data, largest)

        # instrumented code is many times slower
        flags = [
            f"-timeout={10 * SECONDS}",
            f"-rss_limit_mb={MEGABYTES}",
            f"-max_total_time={int(60 * options.minutes)}",
        ]
        flags += ["-max_len=40000", "-print_final_stats=1", f"-seed={options.seed}", f"-artifact_prefix={corpus}/"]
        atheris.Setup([sys.argv[0], *flags, str(corpus)], check, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
