"""A recipe that reduces nothing: the name of its input decides what it does. Processes for jobs import it too."""

import copy
import multiprocessing
import os
import signal
import threading
import time
import warnings
from pathlib import Path
from typing import ClassVar

from soxspipe.exceptions import FrameError, SettingsError
from soxspipe.run_log import get_logger

#: What the command line has of it: name of the class, and the argument of its input.
FAKE = ("tests.fake_recipes:FakeRecipe", "<inputFrames>")

#: Errors by input.
RAISES = {
    "bad.sof": FrameError("bad"),
    "faults.sof": FrameError(["a: is a bias", "b: is a flat"]),
    "empty.sof": SettingsError("empty.sof: is empty"),
    "odd.sof": RuntimeError("odd"),
    "system.sof": OSError("o"),
}
#: Time after which a recipe that waits for another gives up, second.
PATIENCE_S = 30.0


class FakeProduct:
    def __init__(self, path, **facts):
        self.path = Path(path)
        self.files = {"master dark": self.path, "qc": Path("made_qc.json")}
        self.warnings = ("cold pixels not tested",)
        self.facts = facts

    def qc_records(self):
        facts = {"pid": os.getpid(), "thread": threading.current_thread().name, **self.facts}
        return [
            {"name": "PULL STD", "value": 1.0, "unit": "", "range": [0.9, 1.1], "passed": True},
            *[{"name": name, "value": value} for name, value in facts.items()],
        ]


class FakeRecipe:
    #: Arguments of each recipe that this process made.
    calls: ClassVar[list] = []

    def __init__(
        self,
        input_frames,
        settings=None,
        output_dir=".",
        *,
        overwrite=False,
        workers=None,
        progress=None,
        compress=False,
        report=True,
    ):
        self.calls.append(
            {
                "frames": input_frames,
                "settings": settings,
                "output": output_dir,
                "overwrite": overwrite,
                "workers": workers,
            }
        )
        self.name = input_frames if isinstance(input_frames, str) else input_frames[0]
        self.output, self.workers, self.progress = Path(output_dir), workers, progress

    def equal_product(self):
        return None

    def produce_product(self):
        log = get_logger("soxspipe.recipes.fake")
        log.debug("a detail")
        log.info("a step")
        log.warning("a warning\nof two lines \x1b[31m")
        if self.name in RAISES:
            raise copy.copy(RAISES[self.name])
        behaviour = getattr(self, self.name.partition("-")[0].removesuffix(".sof"), None)
        if behaviour is not None:
            behaviour()
        if self.progress is not None:
            for done in range(1, 4):
                self.progress(done, 3)
        return FakeProduct(f"{self.name.removesuffix('.sof')}.fits", workers=self.workers)

    def dies(self):
        assert multiprocessing.parent_process() is not None
        os.kill(os.getpid(), signal.SIGKILL)

    def dies_once(self):
        if not (self.output / self.name).exists():
            (self.output / self.name).touch()
            self.dies()

    def warns(self):
        warnings.warn("odd\ncard", stacklevel=2)

    def waits(self):
        """Wait to be stopped."""
        try:
            os.write(1, b"ready\n")
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                time.sleep(0.01)  # a signal just before a sleep does not shorten it
        finally:
            Path(f"cleaned by {os.getpid()}").touch()

    def stops(self):
        """Stop the own process, as one that waits for a dead file server is stopped."""
        assert multiprocessing.parent_process() is not None
        os.write(1, f"{os.getpid()}\n".encode())
        (self.output / "stops").touch()
        os.kill(os.getpid(), signal.SIGSTOP)

    def meets(self):
        """Wait until two are here at the same time."""
        (self.output / self.name).touch()
        deadline = time.monotonic() + PATIENCE_S
        while len(list(self.output.glob("meets*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
