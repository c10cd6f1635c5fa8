"""Share the scenes out among processes and gather what was measured."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from .measures import Measures, measure
from .numbers import clipping_curves, dark_current_pulls, read_noise_of_integers
from .peers import by_peer
from .promises import Results
from .reductions import by_ccdproc, by_soxspipe
from .scenes import SEED, Scene, make_darks, scenes

#: Runs that the dark current is measured in, in portions that the processes share.
DARK_RUNS, DARK_PORTION = 400, 50
#: Sets that another version is run on: it needs files, and minutes.
PEER_SCENES = ("NIR, N=3", "NIR, N=5", "NIR, N=10", "VIS, N=3, 1 h", "VIS, N=5, 1 h")


def run(quick: bool, workers: int, peer_python: str | None) -> Results:
    """Measure all scenes and numbers, the costly ones first."""
    todo = scenes(quick)
    runs = DARK_RUNS // 4 if quick else DARK_RUNS
    # processes start afresh: none inherits the state of a library's threads
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:

        def submit(what: str, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
            future = pool.submit(work, *arguments)
            future.add_done_callback(partial(_tell, what))
            return future

        order = sorted(todo, key=lambda scene: -scene.simulation.frames)
        rows = {scene.name: submit(scene.name, reduce_scene, scene, peer_python) for scene in order}
        read_noise = submit("read noise of integers", read_noise_of_integers, SEED)
        dark = [
            submit("dark current", dark_current_pulls, SEED + first, DARK_PORTION)
            for first in range(0, runs, DARK_PORTION)
        ]
        clipping = submit("clipping", clipping_curves, SEED)
        return Results(
            scenes={scene.name: scene for scene in todo},
            rows=[row for scene in todo for row in rows[scene.name].result()],
            read_noise=read_noise.result(),
            dark_pulls=np.concatenate([part.result() for part in dark]),
            clipping=clipping.result(),
        )


def _tell(what: str, future: Future[Any]) -> None:
    print(f"  {what}: {'failed' if future.exception() else 'done'}", file=sys.stderr, flush=True)


def reduce_scene(scene: Scene, peer_python: str | None) -> list[Measures]:
    """Simulate a scene once and measure every reduction of it."""
    darks = make_darks(scene)
    made = [by_soxspipe(darks), by_ccdproc(darks)]
    if peer_python is not None and scene.name in PEER_SCENES and (peer := by_peer(darks, peer_python)):
        made.append(peer)
    return [measure(darks, reduction) for reduction in made]
