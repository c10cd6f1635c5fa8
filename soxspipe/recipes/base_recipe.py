"""What every recipe does: collect the frames, process them, write the products, leave a log."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from ..inputs.collect import FrameSet, collect_frames
from ..parallel import default_workers
from ..products.headers import ProductFile, add_qc, product_header, product_stem
from ..products.product_files import Product
from ..products.provenance import Provenance
from ..quality.table import QualityTable
from ..run_log import collect_log, get_logger
from ..settings import ArmSettings, Settings
from ..version import __version__

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import QTable

__all__ = ["BaseRecipe", "Inputs", "Recipe", "RecipeOutput", "RecipeProduct"]

log = get_logger(__name__)

#: Called with the work done and the work in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RecipeOutput:
    """What a recipe made of its frames, before it is written.

    Attributes
    ----------
    frame : CCDData
        The product, in product orientation.
    qc : QualityTable
        Its QC values.
    files : sequence of ProductFile
        Its FITS files, the main product first.
    """

    frame: CCDData
    qc: QualityTable
    files: Sequence[ProductFile]


@dataclass(frozen=True)
class RecipeProduct:
    """A finished reduction.

    Attributes
    ----------
    path : pathlib.Path
        The main product on disk.
    files : mapping of str to pathlib.Path
        All files of the reduction by role.
    frame : CCDData
        Data, StdDevUncertainty, mask, flags (pixel codes) and header.
    qc : QTable
        QC values: name, value, unit, range, passed, description.
    warnings : tuple of str
        What a reader should know: fallbacks taken, QC values out of range.
    """

    path: Path
    files: Mapping[str, Path]
    frame: CCDData
    qc: QTable
    warnings: tuple[str, ...]
    _table: QualityTable = field(repr=False)

    def qc_records(self) -> list[dict[str, Any]]:
        """Return the QC values as dictionaries that JSON can hold."""
        return self._table.records()


class Inputs(Protocol):
    """What every recipe needs to know of its input."""

    @property
    def arm(self) -> str: ...  # noqa: D102
    @property
    def warnings(self) -> tuple[str, ...]: ...  # noqa: D102


InputsT = TypeVar("InputsT", bound=Inputs)


class Recipe(ABC, Generic[InputsT]):
    """What all recipes share: from files that belong together to products on disk.

    A recipe says how its input is collected, what that is made into, and which parameters decide the result.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A set-of-files file, a directory, or FITS paths.
    settings : str, path-like, mapping, Settings or None
        A settings file or its contents; default: the settings that come with soxspipe.
    output_dir : str or path-like
        Where the products go; made when it does not exist.
    overwrite : bool
        Whether an older product may be replaced.
    workers : int, optional
        Threads or processes that work on the pixels; default: two on Linux, one where there is one processor or where
        memory is limited (``ulimit -v``). The pixels do not depend on their number.
    progress : callable, optional
        Called as ``progress(done, total)`` while pixels are processed.
    """

    #: Name of the recipe, as ``ESO PRO REC1 ID`` and the settings file have it.
    name: ClassVar[str]
    #: What the product is called in file names.
    kind: ClassVar[str]
    #: What its category begins with.
    category: ClassVar[str]
    #: Packages that it works with and that take long to import: those of a refused input are spared.
    imports: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        input_frames: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        settings: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None,
        output_dir: str | os.PathLike[str] = ".",
        *,
        overwrite: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.input_frames = input_frames
        self.settings = Settings.load(os.fspath(settings) if isinstance(settings, os.PathLike) else settings)
        self.output_dir = Path(output_dir)
        self.overwrite = overwrite
        self.workers = default_workers() if workers is None else workers
        self.progress = progress

    @property
    def strict_checksums(self) -> bool:
        """Whether an input file with a wrong check sum is refused."""
        return self.settings.input.verify_checksums == "strict"

    @abstractmethod
    def collect(self) -> tuple[InputsT, Provenance]:
        """Collect and verify the input, and tell where its product will come from."""

    @abstractmethod
    def parameters(self, settings: ArmSettings) -> Mapping[str, Any]:
        """Return the parameters that decide the result, by the names that the settings file gives them."""

    @abstractmethod
    def process(self, frames: InputsT, settings: ArmSettings) -> RecipeOutput:
        """Make the product from verified input."""

    def produce_product(self) -> RecipeProduct:
        """Run the recipe.

        Returns
        -------
        RecipeProduct

        Raises
        ------
        SoxspipeError
            When the input is at fault or the product cannot be written; nothing is left behind then.
        """
        started = time.monotonic()
        with collect_log() as run_log:
            log.info("soxspipe %s, recipe %s", __version__, self.name)
            frames, origin = self.collect()
            if self.settings.instruments.table is not None:
                origin = origin.with_table(self.settings.instruments.table)
            settings = self.settings.for_arm(frames.arm)
            parameters = self._with_defaults(settings, frames.arm)
            for name, (value, default) in parameters.items():
                log.info("parameter %s = %s (default %s)", name, value, default)
            with Product(self.output_dir, product_stem(origin, self.kind), overwrite=self.overwrite) as product:
                # not in `process`: astropy keeps tracebacks of its import, and these all variables that it runs below
                for package in self.imports:
                    import_module(package)
                output = self.process(frames, settings)
                warnings = frames.warnings + output.qc.warnings
                for line in warnings:
                    log.warning("%s", line)
                for file in output.files:
                    header = product_header(origin, self.name, f"{file.category}_{frames.arm}", parameters)
                    if file is output.files[0]:
                        add_qc(header, output.qc)
                    file.hdus[0].header.extend(header, end=True)
                product.add_fits(output.files, self.workers)
                output.frame.header = output.files[0].hdus[0].header
                product.add_json(
                    "qc",
                    "_qc.json",
                    {"product": product.path.name, "qc": output.qc.records(), "warnings": list(warnings)},
                )
                log.info("written to %s in %.1f s", product.path, time.monotonic() - started)
                product.add_text("log", ".log", run_log.text())
                files = product.commit()
        return RecipeProduct(product.path, files, output.frame, output.qc.to_qtable(), warnings, output.qc)

    def _with_defaults(self, settings: ArmSettings, arm: str) -> dict[str, tuple[Any, Any]]:
        """Each parameter with the default of this arm beside it."""
        defaults = self.parameters(Settings.load(None).for_arm(arm))
        return {name: (value, defaults[name]) for name, value in self.parameters(settings).items()}


class BaseRecipe(Recipe[FrameSet]):
    """A recipe: from a set of raw frames to products on disk.

    A new recipe subclasses this, names itself and fills in `minimum_frames`, ``parameters`` and ``process``; the rest,
    and what it is called with, is that of every ``Recipe``.
    """

    @abstractmethod
    def minimum_frames(self, settings: ArmSettings) -> int:
        """Return the fewest raw frames to work with."""

    def collect(self) -> tuple[FrameSet, Provenance]:
        """Collect and verify the raw frames."""
        frames = collect_frames(
            self.input_frames,
            minimum_frames=lambda arm: self.minimum_frames(self.settings.for_arm(arm)),
            extra_table=self.settings.instruments.table,
            strict_checksums=self.strict_checksums,
            workers=self.workers,
        )
        log.info(
            "%d frames of %s %s, %g s: %s",
            len(frames.darks), frames.instrument.name, frames.arm, frames.exptime_s,
            ", ".join(dark.name for dark in frames.darks),
        )  # fmt: skip
        return frames, Provenance.of_frames(frames)
