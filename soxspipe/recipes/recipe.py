"""The steps that all recipes share: collect and verify the input, process it, write the product and its log."""

from __future__ import annotations

import contextlib
import html
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..exceptions import InputError
from ..inputs.collect import InputSet
from ..parallel import Progress, default_workers
from ..products.headers import ProductFile, add_qc, leave_out_eso_claim, product_header, product_stem, set_card
from ..products.product_files import Product, equal_product
from ..products.provenance import Provenance
from ..quality.definitions import SUMMARY
from ..quality.table import QualityTable
from ..run_log import collect_log, get_logger
from ..settings import ArmSettings, Settings
from ..stacking.frame_verdicts import FrameVetting
from ..text import escape, format_value
from ..version import __version__

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from ..products.frames import Frame
    from ..quality.qc_table import QCTable

__all__ = ["Progress", "Recipe", "RecipeOutput", "RecipeProduct"]

log = get_logger(__name__)


@dataclass(frozen=True)
class RecipeOutput:
    """The result of a recipe before it is written.

    Attributes
    ----------
    qc : QualityTable
        Its QC values.
    files : sequence of ProductFile
        Its FITS files, the main product first; the product in memory has its planes FLUX, ERRS and QUAL.
    warnings : tuple of str
        Warnings about the pixels, one line each.
    vetting : FrameVetting, optional
        Verdicts of its raw frames.
    details : mapping of str to object
        More figures for ``_qc.json``, from which the report draws.
    """

    qc: QualityTable
    files: Sequence[ProductFile]
    warnings: tuple[str, ...] = ()
    vetting: FrameVetting | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class RecipeProduct:
    """A finished reduction. A notebook shows it as a small table of its QC values.

    Attributes
    ----------
    path : pathlib.Path
        The main product on disk.
    files : mapping of str to pathlib.Path
        All files of the reduction by role.
    frame : Frame
        Data, StdDevUncertainty, mask, flags (pixel codes) and header.
    qc : QCTable
        QC values, an astropy QTable: name, value, unit, range, passed, description. ``qc["RON RAW"]`` is one value
        with its unit.
    warnings : tuple of str
        Assumptions that were made, QC values out of range.
    """

    path: Path
    files: Mapping[str, Path]
    frame: Frame
    qc: QCTable
    warnings: tuple[str, ...]
    _table: QualityTable

    @property
    def verdict(self) -> str:
        """FAIL where a QC value is out of its range, WARN where there are warnings, else PASS."""
        return self._table.verdict(self.warnings)

    def qc_records(self) -> list[dict[str, Any]]:
        """Return the QC values as dictionaries that JSON can hold."""
        return self._table.records()

    def __repr__(self) -> str:
        return f"<RecipeProduct {self.path}, {self.verdict}>"

    def _repr_html_(self) -> str:
        """Return the figures of the summary with their verdicts, and a link to the report where there is one."""
        records = [qc for qc in self.qc_records() if qc["name"] in SUMMARY and qc["value"] is not None]
        words = {True: "pass", False: "fail", None: ""}
        rows = "".join(
            f"<tr><td>{html.escape(qc['name'])}</td><td>{qc['value']:.4g}</td><td>{html.escape(qc['unit'])}</td>"
            f"<td>{words[qc['passed']]}</td><td>{html.escape(qc['description'])}</td></tr>"
            for qc in records
        )
        report = self.files.get("report")
        link = f' <a href="{html.escape(report.absolute().as_uri())}">report</a>' if report else ""
        head = f"<b>{html.escape(str(self.path))}</b>: {self.verdict}{link}"
        return f"<p>{head}</p><table><tr><th>QC</th><th>value</th><th>unit</th><th></th><th></th></tr>{rows}</table>"


InputsT = TypeVar("InputsT", bound=InputSet)


class Recipe(ABC, Generic[InputsT]):
    """A recipe: from files that belong together to products on disk.

    A subclass declares its names and the sections of its parameters, and defines ``collect`` and ``process``.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A set-of-files file or a folder, FITS files, or both.
    settings : str, path-like, mapping, Settings or None
        A settings file or its contents; default: the settings that come with soxspipe.
    output_dir : str or path-like
        Folder of the products; made when it does not exist.
    overwrite : bool
        Whether an older product may be replaced.
    workers : int, optional
        Threads for the pixels; default: two, one where there is one processor or where memory is limited
        (``ulimit -v``). The pixels do not depend on their number.
    progress : callable, optional
        Called as ``progress(done, total)`` while pixels are processed.
    compress : bool
        Whether the FITS files hold compressed images; see :doc:`/files`.
    report : bool
        Whether the product gets a report, one HTML file.
    """

    #: Name of the recipe, as ``ESO PRO REC1 ID`` has it.
    name: ClassVar[str]
    #: Word for the product in file names.
    product_word: ClassVar[str]
    #: ``ESO PRO CATG`` of the product without the arm.
    category: ClassVar[str]
    #: Sections of the settings whose parameters decide the result, as attributes of `~soxspipe.settings.ArmSettings`.
    sections: ClassVar[tuple[str, ...]]
    #: Packages that take long to import: a refused input does not pay for them.
    imports: ClassVar[tuple[str, ...]] = ()
    #: Roles of the files that its products always have.
    roles: ClassVar[tuple[str, ...]] = ("product", "qc", "log")
    #: Whether its products have a report.
    has_report: ClassVar[bool] = True

    def __init__(
        self,
        input_frames: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        settings: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None,
        output_dir: str | os.PathLike[str] = ".",
        *,
        overwrite: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
        compress: bool = False,
        report: bool = True,
    ) -> None:
        _check_arguments(input_frames, output_dir, workers)
        self.input_frames = input_frames
        self.settings = Settings.load(settings)
        self.output_dir = Path(output_dir)
        self.overwrite = overwrite
        self.workers = default_workers() if workers is None else workers
        self.progress = progress
        self.compress = compress
        self.report = report
        #: Name of the job that runs the recipe, for the log of the product; see ``ReductionJob``.
        self.token = ""

    @property
    def collection_options(self) -> dict[str, Any]:
        """Options of ``SetCollector`` that the settings decide."""
        return {
            "extra_table": self.settings.instruments.table,
            "strict_checksums": self.settings.input.verify_checksums == "strict",
            "workers": self.workers,
        }

    @abstractmethod
    def collect(self) -> tuple[InputsT, Provenance]:
        """Collect and verify the input, and return it with the provenance of its product."""

    @abstractmethod
    def process(self, inputs: InputsT, settings: ArmSettings) -> RecipeOutput:
        """Make the product from verified input."""

    @classmethod
    def parameters(cls, settings: ArmSettings) -> dict[str, Any]:
        """Return the parameters that decide the result, by their keys in the settings file."""
        return {
            key: value for section in cls.sections for key, value in getattr(settings, section).as_mapping().items()
        }

    def _given_files(self) -> list[str | os.PathLike[str]]:
        """Return the paths that the caller gave: of the set of files, of single files, and of the settings."""
        given = self.input_frames
        paths = [given] if isinstance(given, str | os.PathLike) else list(given)
        return [os.path.expanduser(path) for path in (*paths, self.settings.name)]

    def _prepare(self) -> tuple[InputsT, Provenance, dict[str, tuple[Any, Any]]]:
        """Return verified input, the provenance of its product, and value and default of each parameter."""
        inputs, provenance = self.collect()
        if self.settings.instruments.table is not None:
            provenance = provenance.with_table(self.settings.instruments.table)
        defaults = self.parameters(Settings.load(None).for_arm(inputs.arm))
        values = self.parameters(self.settings.for_arm(inputs.arm))
        return inputs, provenance, {key: (value, defaults[key]) for key, value in values.items()}

    def equal_product(self) -> Path | None:
        """Return the product that exists already, of the same input, parameters and version; else None.

        Raises
        ------
        InputError
            When the input has a fault.
        """
        inputs, provenance, parameters = self._prepare()
        header = product_header(provenance, self.name, f"{self.category}_{inputs.arm}", parameters)
        return equal_product(self.output_dir, product_stem(provenance, self.product_word), header, self.roles)

    def produce_product(self) -> RecipeProduct:
        """Run the recipe.

        Returns
        -------
        RecipeProduct

        Raises
        ------
        SoxspipeError
            When the input has a fault or the product cannot be written. No file is left then.
        """
        started = time.monotonic()
        with collect_log() as run_log:
            log.info("soxspipe %s, recipe %s", __version__, self.name)
            if self.token:
                log.info("job %s", self.token)
            inputs, provenance, parameters = self._prepare()
            settings = self.settings.for_arm(inputs.arm)
            for key, (value, default) in parameters.items():
                log.info("parameter %s = %s (default %s)", key, value, default)
            stem = product_stem(provenance, self.product_word)
            given = self._given_files()
            used = (*given, *provenance.paths, *(file.path for file in provenance.calibrations))
            with Product(self.output_dir, stem, overwrite=self.overwrite, inputs=used) as product:
                # import here: astropy keeps tracebacks of its imports, and they keep the callers' images alive
                for package in self.imports:
                    import_module(package)
                output = self.process(inputs, settings)
                vetting = output.vetting
                of_vetting = () if vetting is None else vetting.warnings
                warnings = (*inputs.warnings, *output.warnings, *of_vetting, *output.qc.warnings)
                for line in warnings:
                    log.warning("%s", line)
                for file in output.files:
                    header = product_header(provenance, self.name, f"{file.category}_{inputs.arm}", parameters)
                    if file is output.files[0]:
                        add_qc(header, output.qc, warnings)
                    if vetting is not None and vetting.excluded is not None:
                        set_card(header, "ESO QC VET FRAME", vetting.excluded.name, "left out of the stack")
                        set_card(header, "ESO PRO DATANCOM", len(vetting.frames) - 1, "number of frames combined")
                    file.hdus[0].header.extend(header, end=True)
                    if not provenance.instrument.follows_eso:
                        leave_out_eso_claim(file.hdus)
                if self.report and self.has_report:  # files are written and synced meanwhile
                    threading.Thread(target=_import_for_report).start()
                product.add_fits(output.files, compress=self.compress)
                from ..products.frames import frame_of_hdus  # imports astropy.nddata

                frame = frame_of_hdus(output.files[0].hdus)
                records: dict[str, Any] = {
                    "product": product.path.name,
                    "sof": next((os.path.basename(path) for path in given if str(path).endswith(".sof")), None),
                    "verdict": output.qc.verdict(warnings),
                    "failed": list(output.qc.failed),
                    "qc": output.qc.records(),
                    "warnings": list(warnings),
                }
                product.add_json("qc", "_qc.json", records | dict(output.details))
                if self.report and self.has_report and (problem := _add_report(product)):
                    log.warning("%s", problem)
                    warnings = (*warnings, problem)
                log.info("written to %s in %.1f s", product.path, time.monotonic() - started)
                product.add_text("log", ".log", run_log.text())
                product.commit()
        return RecipeProduct(product.path, product.paths, frame, output.qc.to_qtable(), warnings, output.qc)


def _check_arguments(input_frames: object, output_dir: object, workers: object) -> None:
    """Refuse arguments of a wrong type. Raises InputError."""
    if isinstance(input_frames, bytes) or not isinstance(input_frames, str | os.PathLike | Iterable):
        raise InputError(f"input_frames is {format_value(input_frames)}, expected a path or a list of paths")
    if not isinstance(output_dir, str | os.PathLike):
        raise InputError(f"output_dir is {format_value(output_dir)}, expected the path of a folder")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, Integral) or workers < 1):
        raise InputError(f"workers is {format_value(workers)}, expected a whole number from 1, or None")


def _import_for_report() -> None:
    """Import the packages of a report; what fails here fails in `_add_report` too, and is reported there."""
    with contextlib.suppress(Exception):
        from ..report import IMPORTS

        for package in IMPORTS:
            import_module(package)


def _add_report(product: Product) -> str:
    """Add the report to the files of a product, and return a warning where it cannot be made; else an empty text."""
    try:
        from ..report import make_report

        page = make_report(product.written)
    except Exception as error:  # a page is no reason to lose the pixels
        log.debug("the report failed", exc_info=True)
        reason = escape(f"{type(error).__name__}: {error}")
        return f"{product.path}: has no report ({reason}): run 'soxspipe report' on this file"
    product.add_text("report", ".html", page)
    return ""
