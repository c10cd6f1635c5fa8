"""Products on disk: whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from ..exceptions import InputError, ProductError, ProductExistsError
from ..parallel import run_concurrently
from ..signals import deferred_signals
from .headers import ProductFile, big_endian_pixels, data_md5, set_card

__all__ = ["Product", "storage_fault"]

#: What the file system says, in words.
REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "no file may be that large here",
}
#: What follows the stem in the names of a product's files.
ENDINGS = (".fits", "_BPMAP.fits", "_qc.json", ".log")
#: Names that cannot be those of an output folder.
NO_FOLDER = {
    errno.EEXIST: "a file stands where the folder should be",
    errno.ENOTDIR: "a file stands where the folder should be",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "is a link that leads to itself",
}
#: Marks the list of a product's files among its temporary ones.
JOURNAL = ".journal"
#: Two threads of one process may write the same product.
_numbers = itertools.count(1)


class Product:
    """The files of one reduction, written whole or not at all.

    Every file is written under a temporary name in the same folder and synced. Then, with the folder locked
    and signals waiting, all are renamed, the main one last: whoever sees it sees the others. A journal of these
    renames lets the next run finish them should this one die over them. Of two runs that write the same product one
    wins whole.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write; made when it does not exist.
    stem : str
        Name that the files share.
    overwrite : bool
        Whether an older product may be replaced.

    Raises
    ------
    InputError
        When the folder cannot be one; a ProductExistsError when a file of such a product is there already and may not
        be overwritten.
    ProductError
        When the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, stem: str, *, overwrite: bool = False) -> None:
        self.folder = folder
        self.stem = stem
        self.overwrite = overwrite
        self._writer = f"{socket.gethostname()}.{os.getpid()}-{next(_numbers)}"
        self._waiting: dict[str, str] = {}
        self.path = folder / f"{stem}.fits"
        self._made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        try:
            self._open_folder()
        except BaseException:
            self.__exit__()
            raise

    def _open_folder(self) -> None:
        """Make the folder, finish what dead runs left there, and see whether there is room for the product."""
        folder = self.folder
        with self._faults():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                if error.errno not in NO_FOLDER:
                    raise
                raise InputError(f"{folder}: {NO_FOLDER[error.errno]}: choose another output folder") from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "read-only folder", str(folder))
            with _locked(folder) as (descriptor, alone):
                self._tidy(descriptor, alone)
            for made in self._made:
                with contextlib.suppress(OSError), _locked(made.parent) as (descriptor, _):
                    _sync(descriptor)
        for path in (folder / f"{self.stem}{ending}" for ending in ENDINGS):
            if path.is_dir():
                raise ProductExistsError(f"{path}: is a folder, expected room for a file: choose another output folder")
            if os.path.lexists(path) and not self.overwrite:
                raise ProductExistsError(
                    f"{path}: the product exists already and was left alone: choose another folder, or --overwrite"
                )

    def add_fits(self, files: Sequence[ProductFile], workers: int = 1) -> None:
        """Write FITS files with check sums under their temporary names.

        DATAMD5, which takes as long as writing, is worked out and entered while the pixels are on their way to the
        disk.

        Parameters
        ----------
        files : sequence of ProductFile
            Roles, names and contents; DATAMD5 and PIPEFILE are set here.
        workers : int
            Threads.

        Raises
        ------
        ProductError
            When the folder fails.
        """
        digests: dict[str, str] = {}

        def digest(file: ProductFile) -> None:
            digests[file.ending] = data_md5(file.hdus)

        with contextlib.ExitStack() as stack, big_endian_pixels([hdu for file in files for hdu in file.hdus]):
            streams = [stack.enter_context(self._new_file(file.role, file.ending)) for file in files]
            writing = [partial(self._write, *each) for each in zip(files, streams, strict=True)]
            run_concurrently([*writing, *[partial(digest, file) for file in files]], workers)
            for file, stream in zip(files, streams, strict=True):
                self._enter_md5(file, digests[file.ending], stream)

    def _write(self, file: ProductFile, stream: IO[bytes]) -> None:
        header = file.hdus[0].header
        set_card(header, "PIPEFILE", self.stem + file.ending, "name of this file")
        set_card(header, *_md5_card("0" * 32))  # room for it
        file.hdus.writeto(stream, checksum=True, output_verify="exception")
        _begin_sync(stream)

    def _enter_md5(self, file: ProductFile, md5: str, stream: IO[bytes]) -> None:
        hdu = file.hdus[0]
        set_card(hdu.header, *_md5_card(md5))
        hdu.add_checksum()
        stream.seek(0)
        stream.write(hdu.header.tostring().encode("ascii"))

    def add_text(self, role: str, ending: str, text: str) -> None:
        """Write a text file under its temporary name."""
        with self._new_file(role, ending) as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    def add_json(self, role: str, ending: str, document: Any) -> None:
        """Write a JSON file under its temporary name."""
        self.add_text(role, ending, json.dumps(document, indent=2, allow_nan=False) + "\n")

    def commit(self) -> dict[str, Path]:
        """Give all files their names, the main one last, and return them by role.

        Raises
        ------
        ProductError
            When another run wrote the product in the meantime, or the folder fails.
        """
        main_first = sorted(self._waiting.items(), key=lambda item: item[1] != self.path.name)
        files = {role: self.folder / name for role, name in main_first}
        with self._faults(), _locked(self.folder) as (folder, alone), deferred_signals():
            self._tidy(folder, alone)
            old = {path.name for path in files.values() if os.path.lexists(path)}
            if old and not self.overwrite:
                raise ProductError(f"{self.path}: another run wrote this product in the meantime; it was left alone")
            self._rename(old, folder)
        return files

    def __enter__(self) -> Product:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._waiting.values():
            with contextlib.suppress(OSError):
                self._temporary(name).unlink()
        for folder in self._made:  # those made for this product, while they are empty
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _temporary(self, name: str, writer: str = "") -> Path:
        return self.folder / f".{name}.{writer or self._writer}.tmp"

    @contextlib.contextmanager
    def _new_file(self, role: str, ending: str) -> Iterator[IO[bytes]]:
        self._waiting[role] = self.stem + ending
        with self._faults(), self._temporary(self.stem + ending).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def _rename(self, old: set[str], folder: int) -> None:
        """Rename the temporary files, with a journal; some replace those in ``old``."""
        journal = self._temporary(self.stem + JOURNAL)
        # a new name needs room in the folder: where there is none, no older file has been touched yet
        names = sorted(self._waiting.values(), key=lambda name: (name == self.path.name, name in old))
        try:
            with journal.open("w", encoding="utf-8") as file:
                json.dump(names, file)
                file.flush()
                os.fsync(file.fileno())
            _sync(folder)
        except OSError:
            journal.unlink(missing_ok=True)
            raise
        # from here on the journal answers for the temporary files
        waiting, self._waiting = self._waiting, {}
        renamed = []
        try:
            for name in names:
                self._temporary(name).replace(self.folder / name)
                renamed.append(name)
            _sync(folder)
        except OSError as error:
            try:
                if not old.isdisjoint(renamed):
                    raise
                for name in reversed(renamed):
                    (self.folder / name).replace(self._temporary(name))
                journal.unlink()
            except OSError:
                state = "the product is incomplete: the next run into this folder finishes it"
                raise storage_fault(self.folder, error, state) from error
            self._waiting = waiting
            raise
        with contextlib.suppress(OSError):  # a journal of renames that are done does nothing
            journal.unlink()

    def _tidy(self, folder: int, alone: bool) -> None:
        """Finish the renames of runs that died over them, and remove the temporary files of other dead runs.

        A journal belongs to a dead run where nobody else can hold the lock, else where its process is gone. One that is
        not whole was never acted upon.
        """
        unfinished = set()
        for journal in self.folder.glob(f".*{JOURNAL}.*.tmp"):
            stem, _, writer = journal.name.removeprefix(".").removesuffix(".tmp").rpartition(f"{JOURNAL}.")
            if not alone and not _is_dead(writer):
                continue
            try:
                for name in _names_in(journal, stem):
                    with contextlib.suppress(FileNotFoundError):  # it had been renamed
                        self._temporary(name, writer).replace(self.folder / name)
                _sync(folder)
                journal.unlink()
            except OSError:
                if stem == self.stem:  # finished later, it would undo what this run writes
                    raise
                unfinished.add(writer)
        pattern = re.compile(rf"\..*\.({re.escape(socket.gethostname())}\.\d+-\d+)\.tmp")
        for path in self.folder.glob(".*.tmp"):
            match = pattern.fullmatch(path.name)
            if match and match[1] not in unfinished and _is_dead(match[1]):
                with contextlib.suppress(OSError):  # what cannot be removed is in nobody's way
                    path.unlink()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what the file system says into one line."""
        try:
            yield
        except OSError as error:
            raise storage_fault(self.folder, error, "nothing was written; choose another output folder") from error


def storage_fault(path: Path | str, error: OSError, state: str) -> ProductError:
    """Say in one line what the file system says.

    Parameters
    ----------
    path : pathlib.Path or str
        Where it happened.
    error : OSError
        What happened; astropy and NumPy raise some without a number.
    state : str
        What there is now, and what to do.

    Returns
    -------
    ProductError
    """
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    if error.errno is None and "space" in reason:  # astropy asks the disk itself and says it in its own words
        reason = REASONS[errno.ENOSPC]
    elif error.errno is None and " requested and " in reason:  # numpy, which does not say why
        reason = "a file could be written in part only (disk, quota or size limit)"
    return ProductError(f"{path}: {reason}: {state}")


def _md5_card(md5: str) -> tuple[str, str, str]:
    return "DATAMD5", md5, "MD5 of all data units"


def _names_in(journal: Path, stem: str) -> list[str]:
    """Return the names in a journal; none where it is not whole, or no journal of ours."""
    if not journal.is_file():
        return []
    try:
        names = json.loads(journal.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []
    ours = isinstance(names, list) and all(
        isinstance(name, str) and name.startswith(stem) and name.isprintable() and "/" not in name for name in names
    )
    return names if ours else []


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[tuple[int, bool]]:
    """Open a folder and lock it against other runs, and tell whether that is so: not all file systems have locks."""
    folder = os.open(path, os.O_RDONLY)
    try:
        alone = True
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:
            alone = False
        yield folder, alone
    finally:
        os.close(folder)


def _begin_sync(file: IO[bytes]) -> None:
    """Have what was written brought to the disk while this program goes on."""
    file.flush()
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # only advice: what is not on the disk yet is not dropped but sent there
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sync(folder: int) -> None:
    """Bring the names in a folder to the disk, as far as its file system can."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _is_dead(writer: str) -> bool:
    """Tell whether a writer of temporary files was a process of this machine that is gone."""
    match = re.fullmatch(rf"{re.escape(socket.gethostname())}\.(\d+)-\d+", writer)
    return match is not None and not _alive(int(match[1]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:
        return False
    return True
