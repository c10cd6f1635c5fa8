"""Run all measurements in several processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from .measures import Measures, measure
from .numbers import clipping_curves, dark_current_pulls, read_noise_of_rounded_frames
from .patterns import PatternPulls, pattern_pulls, patterns
from .promises import Results
from .reductions import by_ccdproc, by_recipes, by_soxspipe
from .scenes import SEED, Scene, make_darks, scenes
from .upstream import by_upstream

#: Runs for the dark current, and runs in one task of a process.
DARK_RUNS, DARK_PORTION = 400, 50
#: Scenes of upstream soxspipe, which needs files, and minutes.
UPSTREAM_SCENES = ("NIR, N=3", "NIR, N=5", "NIR, N=10", "VIS, N=3, 1 h", "VIS, N=5, 1 h")


def run(quick: bool, workers: int, peer_python: str | None) -> Results:
    """Measure all scenes and numbers, those with many frames first."""
    all_scenes = scenes(quick)
    runs = DARK_RUNS // 4 if quick else DARK_RUNS
    # spawned processes inherit no threads of a library
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:

        def submit(name: str, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
            future = pool.submit(work, *arguments)
            future.add_done_callback(partial(_report, name))
            return future

        order = sorted(all_scenes, key=lambda scene: -scene.simulation.frames)
        rows = {scene.name: submit(scene.name, reduce_scene, scene, peer_python) for scene in order}
        read_noise = submit("read noise of rounded frames", read_noise_of_rounded_frames, SEED)
        dark = [
            submit("dark current", dark_current_pulls, SEED + first, DARK_PORTION)
            for first in range(0, runs, DARK_PORTION)
        ]
        detectors = [submit(each.name, _patterns_of, quick, i) for i, each in enumerate(patterns(quick))]
        clipping = submit("clipping", clipping_curves, SEED)
        return Results(
            scenes={scene.name: scene for scene in all_scenes},
            rows=[row for scene in all_scenes for row in rows[scene.name].result()],
            read_noise=read_noise.result(),
            dark_pulls=np.concatenate([part.result() for part in dark]),
            clipping=clipping.result(),
            patterns=[each.result() for each in detectors],
        )


def _report(name: str, future: Future[Any]) -> None:
    print(f"  {name}: {'failed' if future.exception() else 'done'}", file=sys.stderr, flush=True)


def _patterns_of(quick: bool, number: int) -> PatternPulls:
    """Measure one detector by its number: its functions cannot be sent to another process."""
    return pattern_pulls(patterns(quick)[number], SEED)


def reduce_scene(scene: Scene, peer_python: str | None) -> list[Measures]:
    """Simulate a scene, reduce it with each program, and return the accuracy of each."""
    darks = make_darks(scene)
    reductions = [by_recipes(darks) if scene.from_files else by_soxspipe(darks), by_ccdproc(darks)]
    if peer_python is not None and scene.name in UPSTREAM_SCENES and (upstream := by_upstream(darks, peer_python)):
        reductions.append(upstream)
    return [measure(darks, reduction) for reduction in reductions]
