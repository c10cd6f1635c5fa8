"""Lists of files: set-of-files files, folders and plain paths."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import ErrorCollector, SetOfFilesError
from ..text import escape

__all__ = ["FITS_NAME", "Listing", "SofEntry", "list_files", "parse_sof"]

#: A longer text is no list of frames, nor is one of more lines, or with a line of more characters.
SOF_LIMIT, LINES_LIMIT, LINE_LIMIT = 16 * 2**20, 100_000, 4096

#: What the name of a FITS file looks like, packed or not.
FITS_NAME = re.compile(r"[^.].*\.(?:fits|fit|fts)(?:\.(?:gz|z|fz))?", re.IGNORECASE | re.DOTALL)
_PLAIN_WORD = re.compile(r"[^ \t]+")
_DISTURBING = ("Cc", "Cs", "Zl", "Zp")
_EXPECTED = "expected a text file with lines 'path TAG'"


@dataclass(frozen=True)
class SofEntry:
    """A file of the input; where a path is expected it is one.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    tag : str or None
        What its line says that it is.
    where : str
        Where it was listed, e.g. ``'darks.sof line 3'``.
    """

    path: Path
    tag: str | None
    where: str

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def label(self) -> str:
        """Name and place, for messages."""
        return f"{escape(self.path.name)} ({self.where})"


@dataclass(frozen=True)
class Listing:
    """What the input names.

    Attributes
    ----------
    entries : tuple of SofEntry
        The files.
    source : str
        The input in words, for messages.
    is_folder : bool
        Whether they are all files of a folder, wanted or not.
    """

    entries: tuple[SofEntry, ...]
    source: str
    is_folder: bool = False


def parse_sof(path: str | os.PathLike[str]) -> tuple[SofEntry, ...]:
    """Read a set-of-files file.

    A line is ``path TAG``; the tag may be missing. ``#`` at the begin of a word starts a comment. Quotes, single or
    double, allow spaces in a name; they count where a word begins or a quoted part just ended, elsewhere they are
    letters, as backslashes are everywhere. ``~`` and environment variables are expanded, not in single quotes. A
    relative path is looked up beside the file, then in the working directory.

    Parameters
    ----------
    path : path-like
        The file, UTF-8.

    Returns
    -------
    tuple of SofEntry

    Raises
    ------
    SetOfFilesError
        When it cannot be read, is no such list, is empty, or lists files that do not exist: a line for each.
    """
    path = Path(path)
    faults = ErrorCollector()
    entries = []
    for number, line in enumerate(_sof_lines(path), 1):
        where = f"{escape(path.name)} line {number}"
        try:
            words = _split(line, where)
            if words:
                tag = words[1] if len(words) > 1 else None
                entries.append(SofEntry(_looked_up(words[0], path.parent, where), tag, where))
        except SetOfFilesError as error:
            faults.take(error)
    faults.raise_any()
    if not entries:
        raise SetOfFilesError(f"{escape(path)}: lists no file, expected lines 'path TAG': list the darks")
    return tuple(entries)


def _sof_lines(path: Path) -> list[str]:
    name = escape(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SetOfFilesError(f"{name}: is not a regular file, {_EXPECTED}: correct the path")
        with path.open("rb") as file:
            data = file.read(SOF_LIMIT + 1)
    except OSError as error:
        raise SetOfFilesError(f"{name}: cannot be read ({error.strerror}): correct its path or permissions") from error
    if len(data) > SOF_LIMIT:
        raise SetOfFilesError(f"{name}: has more than {SOF_LIMIT} bytes, {_EXPECTED}: split it")
    if b"\0" in data or data.startswith(b"SIMPLE  ="):
        raise SetOfFilesError(f"{name}: is a binary or FITS file, {_EXPECTED}: list its path in one")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SetOfFilesError(f"{name}: is not UTF-8 text ({error.reason}), {_EXPECTED}: convert it") from error
    if text.count("\n") > LINES_LIMIT:
        raise SetOfFilesError(f"{name}: has more than {LINES_LIMIT} lines, {_EXPECTED}: split it")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if long := next((number for number, line in enumerate(lines, 1) if len(line) > LINE_LIMIT), None):
        raise SetOfFilesError(f"{name}: line {long} has more than {LINE_LIMIT} characters, {_EXPECTED}: correct it")
    return lines


def _split(line: str, where: str) -> list[str]:
    """Split a line into path and tag, as far as it has them."""
    words: list[str] = []
    position = 0
    while position < len(line) and line[position] != "#":
        if line[position] in " \t":
            position += 1
        else:
            word, position = _word(line, position, where)
            words.append(word)
    if len(words) > 2:
        raise SetOfFilesError(
            f"{where}: {len(words)} words, expected 'path TAG': put a name with spaces in quotes, a comment behind #"
        )
    if words and not words[0]:
        raise SetOfFilesError(f"{where}: the path is empty, expected 'path TAG': correct the line")
    for word in words:
        _refuse_control(word, where)
    return words


def _word(line: str, position: int, where: str) -> tuple[str, int]:
    """Take the word that begins here; returns it, expanded, and where it ends."""
    parts = []
    begin = position
    while position < len(line) and line[position] not in " \t":
        quote = line[position]
        if quote in "'\"":
            end = line.find(quote, position + 1)
            if end < 0:
                raise SetOfFilesError(f"{where}: {quote} is not closed, expected another {quote}: correct the line")
            part = line[position + 1 : end]
            parts.append(part if quote == "'" else os.path.expandvars(part))
            position = end + 1
        elif plain := _PLAIN_WORD.match(line, position):
            part = os.path.expandvars(plain[0])
            parts.append(os.path.expanduser(part) if position == begin else part)
            position = plain.end()
    return "".join(parts), position


def _refuse_control(name: str, where: str) -> None:
    if not name.isprintable() and any(unicodedata.category(character) in _DISTURBING for character in name):
        raise SetOfFilesError(
            f"{where}: '{escape(name)}' holds a control character or broken unicode, expected plain text: "
            "rename the file"
        )


def _looked_up(name: str, folder: Path, where: str) -> Path:
    for candidate in (folder / name, Path(name)):
        if os.path.exists(candidate):
            return candidate
    places = "" if Path(name).is_absolute() else f" in {escape(folder)} or the working directory"
    raise SetOfFilesError(f"{where}: {escape(name)} does not exist{places}: correct the path, or remove the line")


def list_files(input_frames: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Listing:
    """Resolve what a user gave as input.

    Parameters
    ----------
    input_frames : path-like or iterable of path-like
        A set-of-files file (its name ends in ``.sof``), a folder, or FITS files; of these any may be a `SofEntry`.

    Returns
    -------
    Listing
        Of a folder the files whose names look like FITS, by name, hidden ones left out.

    Raises
    ------
    SetOfFilesError
        When something does not exist or cannot be listed: a line for each.
    """
    single = isinstance(input_frames, (str, bytes, os.PathLike))
    items = [input_frames] if single else list(input_frames)  # type: ignore[arg-type]
    faults = ErrorCollector()
    paths = []
    for number, item in enumerate(items, 1):
        try:
            paths.append(_given_path(item, "input" if single else f"input {number}", len(items) > 1))
        except SetOfFilesError as error:
            faults.take(error)
    faults.raise_any()
    if not paths:
        raise SetOfFilesError("no input frames: give a set-of-files file, a folder or FITS files")
    if len(paths) == 1 and paths[0].is_dir():
        return Listing(_folder_entries(paths[0]), escape(paths[0]), is_folder=True)
    if len(paths) == 1 and paths[0].suffix.lower() == ".sof":
        return Listing(parse_sof(paths[0]), escape(paths[0]))
    entries = (
        item if isinstance(item, SofEntry) else SofEntry(path, None, f"input {number}")
        for number, (item, path) in enumerate(zip(items, paths, strict=True), 1)
    )
    return Listing(tuple(entries), "the input")


def _given_path(item: object, where: str, among_others: bool) -> Path:
    if not isinstance(item, (str, os.PathLike)) or not isinstance(os.fspath(item), str):
        raise SetOfFilesError(f"{where}: {escape(repr(item))} is no path, expected text: give paths")
    path = Path(os.path.expanduser(item))
    _refuse_control(str(path), where)
    if not os.path.exists(path):
        raise SetOfFilesError(f"{where}: {escape(path)} does not exist: correct the path")
    if among_others and (path.is_dir() or path.suffix.lower() == ".sof"):
        kind = "a folder" if path.is_dir() else "a set of files"
        raise SetOfFilesError(f"{where}: {escape(path)} is {kind}, expected a FITS file: reduce it on its own")
    return path


def _folder_entries(folder: Path) -> tuple[SofEntry, ...]:
    try:
        names = sorted(name for name in os.listdir(folder) if FITS_NAME.fullmatch(name))
    except OSError as error:
        raise SetOfFilesError(
            f"{escape(folder)}: cannot be read ({error.strerror}): correct its permissions"
        ) from error
    faults = ErrorCollector()
    for name in names:
        try:
            _refuse_control(name, escape(folder))
        except SetOfFilesError as error:
            faults.take(error)
    faults.raise_any()
    if not names:
        raise SetOfFilesError(f"{escape(folder)}: holds no FITS file, expected raw darks: give another folder")
    return tuple(SofEntry(folder / name, None, f"in {escape(folder)}") for name in names)
