"""A reduction as a job. Job and result can be pickled, so that a job can run anywhere."""

from __future__ import annotations

import json
import logging
import pkgutil
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import ProductExistsError, SoxspipeError
from ..parallel import Progress
from ..run_log import collect_log
from ..signals import raise_stop_request

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe, RecipeProduct
    from ..settings import Settings

__all__ = ["JobResult", "ReductionJob", "failed", "finished", "reduce", "reduce_unheard"]

#: Most faults of one error that are reported one by one.
MOST_FAULTS = 20


@dataclass(frozen=True)
class ReductionJob:
    """A reduction that is to be done.

    Attributes
    ----------
    recipe : str
        Class of the recipe with its module, such as ``soxspipe.recipes:soxs_mdark``.
    input_frames : sequence of str
        A set-of-files file or a directory, and FITS files.
    settings : Settings or None
        Settings; None for the defaults.
    output_dir : str
        Folder of the products.
    overwrite : bool
        Whether an older product may be replaced.
    workers : int
        Threads inside the job.
    compress : bool
        Whether the FITS files hold compressed images.
    resume : bool
        Whether a product that exists already, of the same input, parameters and version, counts as the result.
    token : str
        Name of the job in the log of its product, so that another try finds the product of an earlier one. Empty where
        the job is tried once.
    report : bool
        Whether the product gets a report.
    """

    recipe: str
    input_frames: Sequence[str]
    settings: Settings | None = None
    output_dir: str = "."
    overwrite: bool = False
    workers: int = 1
    compress: bool = False
    resume: bool = False
    token: str = ""
    report: bool = True


@dataclass(frozen=True)
class JobResult:
    """The outcome of a job, without its pixels.

    Attributes
    ----------
    product : str or None
        Path of the product; None where the job failed.
    files : mapping of str to str
        Paths of all files by role.
    qc : sequence of dict
        QC values as JSON has them.
    warnings : sequence of str
        Fallbacks taken and QC values out of range.
    errors : sequence of str
        Faults, one line each; empty where the job succeeded.
    exit_code : int
        Exit code of the command line for this job.
    traceback : str
        Traceback of the error.
    messages : tuple of logging.LogRecord
        Records of the log.
    elapsed_s : float
        Run time, second.
    was_there : bool
        Whether the product existed already; see `ReductionJob.resume`.
    """

    product: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    qc: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    errors: Sequence[str] = ()
    exit_code: int = 0
    traceback: str = ""
    messages: tuple[logging.LogRecord, ...] = ()
    elapsed_s: float = 0.0
    was_there: bool = False

    def record(self) -> dict[str, Any]:
        """Return what JSON holds of the job."""
        names = ("product", "files", "qc", "warnings", *(("errors",) if self.errors else ()))
        return {name: getattr(self, name) for name in names}


def reduce(job: ReductionJob, progress: Progress | None = None) -> JobResult:
    """Do a reduction; its errors are part of the result.

    Parameters
    ----------
    job : ReductionJob
        The reduction.
    progress : callable, optional
        Called as ``progress(done, total)`` while pixels are processed.

    Returns
    -------
    JobResult

    Raises
    ------
    KeyboardInterrupt, Terminated
        When the process was asked to stop.
    """
    started = time.monotonic()
    with collect_log() as run_log:
        try:
            recipe = pkgutil.resolve_name(job.recipe)(
                job.input_frames,
                settings=job.settings,
                output_dir=job.output_dir,
                overwrite=job.overwrite,
                workers=job.workers,
                progress=progress,
                compress=job.compress,
                report=job.report,
            )
            recipe.token = job.token
            result = _produce(recipe, job)
        except Exception as error:  # noqa: BLE001 - an error of one job must not stop the others
            result = failed(error)
    raise_stop_request()
    return replace(result, messages=tuple(run_log.records), elapsed_s=time.monotonic() - started)


def reduce_unheard(job: ReductionJob) -> JobResult:
    """Do a job whose messages are in its result alone."""
    with collect_log(lambda record: None):
        return reduce(job)


def _produce(recipe: Recipe[Any], job: ReductionJob) -> JobResult:
    """Make a product, unless it exists already.

    An earlier try of the same job may have made it: its process died after the product was complete, and before this
    was known.
    """
    if job.resume and (path := recipe.equal_product()) is not None:
        return _found(path)
    try:
        return finished(recipe.produce_product())
    except ProductExistsError:
        path = recipe.equal_product() if job.token else None
        found = None if path is None else _found(path)
        if found is None or f"job {job.token}" not in Path(found.files["log"]).read_text(encoding="utf-8"):
            raise
        return found


def _found(path: Path) -> JobResult:
    """Return the result of a job whose product exists already, from the files of the product."""
    from ..products.product_files import files_of

    files = {role: str(file) for role, file in files_of(path).items()}
    record = json.loads(Path(files["qc"]).read_text(encoding="utf-8"))
    return JobResult(str(path), files, record["qc"], record["warnings"], was_there=True)


def finished(product: RecipeProduct) -> JobResult:
    """Return the result of a job that made a product."""
    return JobResult(
        product=str(product.path),
        files={role: str(path) for role, path in product.files.items()},
        qc=product.qc_records(),
        warnings=list(product.warnings),
    )


def failed(error: Exception) -> JobResult:
    """Return the result of a job that ended in an error."""
    return JobResult(
        errors=_error_lines(error),
        exit_code=error.exit_code if isinstance(error, SoxspipeError) else 1,
        traceback="".join(traceback.format_exception(error)),
    )


def _error_lines(error: Exception) -> list[str]:
    """Return the lines that report an error to a user; no more than a terminal shows."""
    if isinstance(error, SoxspipeError) and error.faults:
        more = len(error.faults) - MOST_FAULTS
        return [*error.faults[:MOST_FAULTS], *([f"and {more} more faults"] if more > 0 else [])]
    if isinstance(error, MemoryError):
        return ["not enough memory: close other programs, raise the limit, or choose --workers=1"]
    if isinstance(error, OSError) and error.strerror:
        # only the path of a working directory that was removed is not found without a name
        name = error.filename or ("working directory" if isinstance(error, FileNotFoundError) else "")
        return [f"{name}: {error.strerror}" if name else error.strerror]
    words = f"{type(error).__name__}: {error}".rstrip(": ")
    modules = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
    if {"astropy.config.configuration", "astropy.logger"} & modules:
        return [f"{words}: astropy cannot read its configuration file: correct or remove it (~/.astropy/config)"]
    if isinstance(error, ImportError):
        return [f"{words}: a package cannot be imported: install soxspipe again"]
    return [f"{words}: a fault of soxspipe, please report it with what -v -v prints"]
