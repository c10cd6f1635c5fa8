"""Values of the options that commands share which run reductions; ``usage/options.txt`` declares them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..execution.job import ReductionJob
from ..instruments.keywords import table_path
from ..products.atomic_files import write_file
from ..products.products_sof import ProductsSof
from ..settings import Settings
from .database_writer import DatabaseWriter
from .terminal import write_result
from .usage import path_argument, workers_argument

__all__ = ["RunOptions", "output_option", "settings_option", "write_output"]


@dataclass(frozen=True)
class RunOptions:
    """Where jobs run, how they write their products, and what is reported of them.

    Attributes
    ----------
    template : ReductionJob
        A job without recipe and input, with settings, output folder, and how products are written.
    workers : int
        Most jobs at the same time.
    database : DatabaseWriter
        Adds the products to the quality database.
    scheduler : str or None
        Address of a Dask scheduler.
    as_json, strict : bool
        Whether results are printed as JSON; whether a QC value out of its range decides the exit code.
    products_sof : ProductsSof or None
        A list of the products.
    """

    template: ReductionJob
    workers: int
    database: DatabaseWriter
    scheduler: str | None = None
    as_json: bool = False
    strict: bool = False
    products_sof: ProductsSof | None = None

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any],
        settings: Settings | None,
        inputs: Sequence[str | os.PathLike[str]] = (),
        output: str | None = None,
    ) -> RunOptions:
        """Read the options of a command, which may lack some of them.

        Parameters
        ----------
        options : mapping
            Values by the names in the usage text.
        settings : Settings or None
            Settings of all jobs.
        inputs : sequence of path-like
            Files that are never replaced by the list of products.
        output : str, optional
            Folder of the products; default: that of ``--output``.
        """
        folder = output or output_option(options)
        overwrite, resume = bool(options.get("--overwrite")), bool(options.get("--resume"))
        products_sof = None
        if options.get("--products-sof") is not None:  # refused before the run if it cannot be written
            path = Path(path_argument(options["--products-sof"], "--products-sof"))
            products_sof = ProductsSof(path, overwrite=overwrite or resume, inputs=inputs)
        template = ReductionJob(
            recipe="",
            input_frames=(),
            settings=settings,
            output_dir=folder,
            overwrite=overwrite,
            resume=resume,
            compress=bool(options.get("--compress")),
            report=not options.get("--no-report"),
        )
        return cls(
            template,
            workers=workers_argument(options.get("--workers")),
            database=DatabaseWriter(options, folder),
            scheduler=options.get("--scheduler"),
            as_json=bool(options.get("--json")),
            strict=bool(options.get("--strict")),
            products_sof=products_sof,
        )

    def job(self, recipe: str, input_frames: Sequence[str]) -> ReductionJob:
        """Return a job of a recipe."""
        return replace(self.template, recipe=recipe, input_frames=input_frames)


def output_option(options: Mapping[str, Any]) -> str:
    """Return the folder of the products that the options name."""
    given = options.get("--output")
    return "." if given is None else path_argument(given, "--output")


def settings_option(options: Mapping[str, Any]) -> Settings:
    """Return the settings of ``--settings`` and ``--instrument``; without these the defaults."""
    source, instrument = options.get("--settings"), options.get("--instrument")
    return Settings.load(
        None if source is None else path_argument(source, "--settings"),
        instrument_table=None if instrument is None else table_path(path_argument(instrument, "--instrument")),
    )


def write_output(options: Mapping[str, Any], text: str) -> None:
    """Write a text to the new file of ``--output``, and print its name; without the option print the text."""
    if options["--output"] is None:
        write_result(text.rstrip("\n"))
        return
    path = Path(path_argument(options["--output"], "--output"))
    write_file(path, text, remedy="choose another name or remove it")
    write_result(str(path))
