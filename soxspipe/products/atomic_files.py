"""Sets of files that appear in a folder together, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from ..exceptions import InputError, ProductError, ProductExistsError
from ..signals import deferred_signals
from ..text import escape
from ..yaml_files import read_regular_file

__all__ = ["AtomicFiles", "write_file"]

#: Errors of a name that cannot be that of a folder.
NO_FOLDER = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
#: Locked by the run that looks for older files, or renames its own.
FOLDER_LOCK = ".soxspipe-lock.tmp"
#: Time after which a run does not wait any longer for the lock, and time between its attempts.
WAIT_S, ATTEMPT_S = 60.0, 0.02
#: Folder with the temporary files of one run, and its journal.
RUN_FOLDER, JOURNAL = ".soxspipe-run-{}.tmp", "journal"
#: Part of a file that is searched for its mark.
BEGINNING_BYTES = 4096
REMEDY = "choose another folder, or --overwrite"
INCOMPLETE = "the set of files is incomplete: the next run into this folder restores the older one"


class AtomicFiles:
    """Files of one run in one folder, a context manager: all of them get their names, or none does.

    The files on disk are always of one run. New files are written to a hidden folder inside the output folder, and
    synced. `commit` locks the output folder, moves the older files of the set to the hidden folder, renames the new
    files, and removes the hidden folder. When a step fails, the older files are put back.

    The hidden folder holds a journal with the names. The run keeps a lock on it, which the kernel drops when the
    process ends. A journal without a lock belongs to a dead run: the next run into the output folder puts the older
    files of that run back. Where a file system has no locks, the lock of the output folder is a file that only one run
    can make, and hidden folders of other runs are left alone.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder; made when it does not exist.
    names : sequence of str
        Names of all files of the set. The first is the main file: it is moved away first and renamed last, so that
        who sees it sees the others.
    overwrite : bool
        Whether older files of these names may be replaced. All of them are, also by a set with fewer files.
    inputs : iterable of path-like
        Files that are never replaced, by whichever link.
    remedy : str
        Advice for the message that older files must not be replaced.
    marks : mapping of str to bytes
        Text near the beginning of files that may be replaced, by name: another file of such a name is left alone.
    durable : bool
        Whether the files must survive a loss of power. The sync of a thousand small files takes seconds.

    Raises
    ------
    InputError
        When the folder cannot be one; a ProductExistsError when a file of the set exists and may not be replaced.
    ProductError
        When the folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        overwrite: bool = False,
        inputs: Iterable[str | os.PathLike[str]] = (),
        remedy: str = REMEDY,
        marks: Mapping[str, bytes] | None = None,
        durable: bool = True,
    ) -> None:
        self.folder, self.names, self.overwrite, self.inputs = folder, tuple(names), overwrite, tuple(inputs)
        self._hidden = folder / RUN_FOLDER.format(secrets.token_hex(8))
        self._journal: IO[bytes] | None = None
        self._incomplete = False
        self._remedy, self._marks, self._durable = remedy, marks or {}, durable
        self._new_folders = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]

    def __enter__(self) -> Self:
        return self if self._journal is not None else self.open()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def open(self) -> Self:
        """Make the folders; called by ``with``, so that no signal comes between this and the block that closes."""
        try:
            with self._storage_errors():
                self._make_folder()
                with self._locked():
                    for name, has_older in self._older_files().items():
                        if has_older and not self.overwrite:
                            path = self.folder / name
                            raise ProductExistsError(f"{path}: exists already and was left alone: {self._remedy}")
                    self._hidden.mkdir()
                    self._journal = (self._hidden / JOURNAL).open("xb")
                    _lock(self._journal)
        except BaseException:
            self.close()
            raise
        return self

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file to the hidden folder, sync it, and compare the bytes on disk with the content.

        Parameters
        ----------
        name : str
            One of the names of the set.
        chunks : iterable of bytes
            Its content; iterated twice.

        Raises
        ------
        ProductError
            When it cannot be written, or its bytes on disk are others.
        """
        if name not in self.names:
            raise ValueError(f"{name} is not a file of this set")
        path = self._hidden / name
        with self._storage_errors():
            with path.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
            with path.open("rb") as file:  # only now: the error of a write may come when the file is closed
                if not all(file.read(len(chunk)) == chunk for chunk in chunks) or file.read(1):
                    raise OSError(errno.EIO, f"{name} has other bytes on disk than it should have")

    def commit(self) -> None:
        """Give all files their names; older files of the set are gone then.

        Raises
        ------
        ProductError
            When another run wrote such files in the meantime, or the folder fails. The older files are as they were.
        """
        with self._storage_errors(), self._locked(), deferred_signals():
            has_older = self._older_files()
            if any(has_older.values()) and not self.overwrite:
                path = self.folder / self.names[0]
                raise ProductError(f"{path}: another run wrote this product in the meantime; it was left alone")
            renames = {name: older for name, older in has_older.items() if older or (self._hidden / name).exists()}
            try:
                self._write_journal(renames)
                self._rename(renames)
            except BaseException:
                self._incomplete = True
                self._undo(renames, self._hidden)
                self._incomplete = False
                raise

    def close(self) -> None:
        """Remove the hidden folder, and the output folder where it was made and is empty."""
        with deferred_signals(raise_earlier=False):
            if not self._incomplete:
                shutil.rmtree(self._hidden, ignore_errors=True)
            if self._journal is not None:
                self._journal.close()
            self._remove_left_lock()
            for folder in self._new_folders:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in NO_FOLDER:
                raise
            reason = f"cannot be a folder ({error.strerror})"
            raise InputError(f"{self.folder}: {reason}: choose another output folder") from error
        for folder in self._new_folders:
            with contextlib.suppress(OSError):
                _sync(folder.parent)

    def _older_files(self) -> dict[str, bool]:
        """Return for each name whether it exists. Raise ProductExistsError for what is never replaced."""
        inputs: dict[tuple[int, int], str | os.PathLike[str]] = {}
        for used in self.inputs:
            with contextlib.suppress(OSError):
                inputs[_identity(used)] = used
        for path in (self.folder / name for name in self.names):
            if path.is_dir():
                raise ProductExistsError(f"{path}: is a folder, expected room for a file: choose another output folder")
            if path.exists() and not path.is_file():
                raise ProductExistsError(
                    f"{path}: is a device, pipe or socket, which is never replaced: choose another output folder"
                )
            if path.exists() and (identity := _identity(path)) in inputs:
                what = f"is the input {escape(inputs[identity])}, which is never replaced"
                raise ProductExistsError(f"{path}: {what}: choose another output folder")
            if path.exists() and path.name in self._marks:
                beginning = read_regular_file(path, BEGINNING_BYTES)
                if beginning and self._marks[path.name] not in beginning:
                    raise ProductExistsError(f"{path}: exists and was not made by this command: move it")
        return {name: os.path.lexists(self.folder / name) for name in self.names}

    def _write_journal(self, renames: dict[str, bool]) -> None:
        assert self._journal is not None
        self._journal.write(json.dumps(renames).encode())
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._sync_folders()

    def _rename(self, renames: dict[str, bool]) -> None:
        for name in renames:
            if renames[name]:
                (self.folder / name).replace(self._hidden / f"{name}.older")
        self._sync_folders()
        for name in reversed(renames):
            if (self._hidden / name).exists():
                (self._hidden / name).replace(self.folder / name)
        self._sync_folders()
        (self._hidden / JOURNAL).unlink()  # from here on no run undoes the renames
        _sync(self._hidden)

    def _undo(self, renames: dict[str, bool], hidden: Path) -> None:
        """Remove the new files of a run and put the older ones back, the main file last; safe to repeat."""
        for name, has_older in renames.items():
            if not has_older and not os.path.lexists(hidden / name):
                (self.folder / name).unlink(missing_ok=True)
        for name in reversed(renames):
            if os.path.lexists(hidden / f"{name}.older"):
                (hidden / f"{name}.older").replace(self.folder / name)
        _sync(self.folder)
        (hidden / JOURNAL).unlink(missing_ok=True)
        _sync(hidden)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder against other runs, and undo the renames of dead runs."""
        path, last = self.folder / FOLDER_LOCK, time.monotonic() + WAIT_S
        with contextlib.ExitStack() as held:
            while not _take_lock(path, held):
                if time.monotonic() > last:
                    remedy = "wait for that run, or remove this file if there is none"
                    raise ProductError(f"{path}: another run keeps this folder locked: {remedy}")
                time.sleep(ATTEMPT_S)
            try:
                self._recover()
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _remove_left_lock(self) -> None:
        """Remove the lock of the folder that a signal left just after `_locked` had made it."""
        path = self.folder / FOLDER_LOCK
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            if path.exists() and _take_lock(path, held):
                path.unlink()

    def _recover(self) -> None:
        for hidden in list(self.folder.glob(RUN_FOLDER.format("*"))):
            path, renames = hidden / JOURNAL, dict[str, bool]()
            mode = "r+b" if os.access(path, os.W_OK) else "rb"
            with contextlib.suppress(FileNotFoundError), path.open(mode) as journal:
                if not _lock(journal):  # its run is alive, or there are no locks
                    continue
                renames = _read_journal(journal)
            if renames:
                self._undo(renames, hidden)
            shutil.rmtree(hidden, ignore_errors=True)

    def _sync_folders(self) -> None:
        _sync(self._hidden)
        _sync(self.folder)

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turn errors of the file system into one line."""
        try:
            yield
        except OSError as error:
            state = INCOMPLETE if self._incomplete else "nothing was written; choose another output folder"
            where = Path(error.filename or self.folder)
            if where.parent != self.folder or where.name not in self.names:  # the name of a hidden file says nothing
                where = self.folder
            raise ProductError(f"{where}: {error.strerror or error}: {state}") from error


def write_file(path: Path, text: str, **options: Any) -> None:
    """Write a text file, all of it or nothing.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    text : str
        Its content. A character that UTF-8 has not is escaped.
    **options
        See `AtomicFiles`.

    Raises
    ------
    InputError, ProductError
        See `AtomicFiles`.
    """
    with AtomicFiles(path.parent, [path.name], **options) as files:
        files.write(path.name, [text.encode("utf-8", "backslashreplace")])
        files.commit()


def _read_journal(file: IO[bytes]) -> dict[str, bool]:
    """Return the renames in a journal; none where it is not whole: then no rename was begun."""
    try:
        renames = json.loads(file.read())
    except (ValueError, RecursionError):
        return {}
    is_journal = isinstance(renames, dict) and all(
        "/" not in name and name.strip(".") and name.isprintable() and isinstance(has_older, bool)
        for name, has_older in renames.items()
    )
    return renames if is_journal else {}


def _take_lock(path: Path, held: contextlib.ExitStack) -> bool:
    """Lock a folder by its lock file until ``held`` is closed; return False while another run has the lock."""
    is_new = not os.path.lexists(path)
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        file = held.enter_context(path.open("xb" if is_new else "r+b"))
        locked = _lock(file)
        # the run that had the lock may have removed the file
        if (locked or (locked is None and is_new)) and _identity(path) == _identity(file.fileno()):
            return True
    held.close()
    return False


def _lock(file: IO[bytes]) -> bool | None:
    """Lock a file until it is closed; return False where another run has locked it, None where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _identity(file: str | os.PathLike[str] | int) -> tuple[int, int]:
    """Return device and number of a file, which all its links share."""
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk, as far as its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
