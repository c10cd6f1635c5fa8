"""A set-of-files file that lists products, so that they can be the input of the next command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..exceptions import InputError, ProductError
from ..fits_files.images import read_main_header
from ..inputs.frame_kinds import PRODUCT_CATEGORY
from ..text import escape
from .atomic_files import AtomicFiles, write_file

__all__ = ["ProductsSof"]


class ProductsSof:
    """A set-of-files file that a run writes: ``path TAG`` for each FITS file of its products.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    overwrite : bool
        Whether an older file may be replaced.
    inputs : iterable of path-like
        Input of the run, which is never replaced.

    Raises
    ------
    InputError
        When its name is not that of a list, or its folder cannot be one; a ProductExistsError when it exists and may
        not be replaced.
    ProductError
        When its folder cannot be written to.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        if path.suffix != ".sof":  # by its name no frame of a folder or list, nor any file of a product, is replaced
            raise InputError(f"{escape(path)}: is no name of a list of products: let it end in .sof")
        self.path = path
        self._options: dict[str, Any] = {
            "overwrite": overwrite, "inputs": tuple(inputs), "remedy": "choose another name, or --overwrite",
        }  # fmt: skip
        with AtomicFiles(path.parent, [path.name], **self._options):  # before hours of work
            pass

    def write(self, products: Sequence[str | os.PathLike[str]]) -> None:
        """Write the list, all of it or nothing; nothing where there is no product.

        Parameters
        ----------
        products : sequence of path-like
            FITS files of the products. The tag is their ``ESO PRO CATG``, the path is absolute.

        Raises
        ------
        ProductError
            When it cannot be written, or a name is no plain text.
        """
        if products:
            write_file(self.path, "".join(map(_line, products)), **self._options)


def _line(product: str | os.PathLike[str]) -> str:
    path = os.path.abspath(product)
    if not path.isprintable():
        raise ProductError(f"{escape(path)}: a set of files cannot list this name: choose another output folder")
    return f"{shlex.quote(path)} {read_main_header(path)[PRODUCT_CATEGORY]}\n"
