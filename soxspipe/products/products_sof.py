"""A set-of-files file that lists products, so that they can be the input of the next command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..exceptions import InputError, ProductError
from ..fits_files.images import read_main_header
from ..inputs.frame_kinds import PRODUCT_CATEGORY
from ..text import escape
from .atomic_files import AtomicFiles

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
        self.path, self.overwrite, self.inputs = path, overwrite, tuple(inputs)
        with self._files():  # before hours of work
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
            content = "".join(map(_line, products)).encode()
            with self._files() as files:
                files.write(self.path.name, [content])
                files.commit()

    def _files(self) -> AtomicFiles:
        remedy = "choose another name, or --overwrite"
        return AtomicFiles(
            self.path.parent, [self.path.name], overwrite=self.overwrite, inputs=self.inputs, remedy=remedy
        )


def _line(product: str | os.PathLike[str]) -> str:
    path = os.path.abspath(product)
    if not path.isprintable():
        raise ProductError(f"{escape(path)}: a set of files cannot list this name: choose another output folder")
    return f"{shlex.quote(path)} {read_main_header(path)[PRODUCT_CATEGORY]}\n"
