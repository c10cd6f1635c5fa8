"""Lists of files: set-of-files files, folders and paths."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..exceptions import ErrorCollector, SetOfFilesError
from ..text import escape, format_value
from ..yaml_files import read_regular_file

__all__ = ["FITS_NAME", "Listing", "SofEntry", "list_files", "parse_sof"]

#: Limits of a list: bytes, lines, characters of a line. A larger file is no list of frames.
SOF_LIMIT, LINES_LIMIT, LINE_LIMIT = 16 * 2**20, 100_000, 4096

#: Name of a FITS file, compressed or not.
FITS_NAME = re.compile(r"[^.].*\.(?:fits|fit|fts)(?:\.(?:gz|z|fz|bz2))?", re.IGNORECASE | re.DOTALL)
#: Name of a file that may be a frame under another name: packed in another way, or not complete.
_OTHER_NAME = re.compile(
    r"[^.].*(?:\.(?:fits|fit|fts)\W.*|\.(?:gz|z|fz|bz2|xz|zst|zip|7z|lz4|lzma|tar|tgz|part|partial|filepart|tmp|temp"
    r"|crdownload|download|incomplete))",
    re.IGNORECASE | re.DOTALL,
)
#: A tag with the binning, columns x rows.
_BINNED_TAG = re.compile(r"(.+)_([1-9])x([1-9])")
_PLAIN_WORD = re.compile(r"[^ \t]+")
_GROUP = re.compile(r"\w+")
_CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
_ABSENT = "does not exist"
_EXPECTED = "expected a text file with lines 'path TAG'"


@dataclass(frozen=True)
class SofEntry:
    """A file of the input. Can be used as a path.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    tag : str or None
        Its tag; None where it has none.
    where : str
        Its place in the input, e.g. ``'darks.sof line 3'``.
    in_folder : bool
        Whether it was found in a folder of the input.
    given_separately : bool
        Whether it was given in addition to a set of files or a folder.
    binning : tuple of int, optional
        Binning in x and y that follows the tag, as in ``BIAS_UVB_1x2``.
    """

    path: Path
    tag: str | None
    where: str
    in_folder: bool = False
    given_separately: bool = False
    binning: tuple[int, int] | None = None

    @property
    def is_fits(self) -> bool:
        """Whether its name is that of a FITS file, or it was listed."""
        return not self.in_folder or FITS_NAME.fullmatch(self.path.name) is not None

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def label(self) -> str:
        """Name and place, for messages."""
        return f"{escape(self.path.name)} ({self.where})"


@dataclass(frozen=True)
class Listing:
    """The files of a reduction.

    Attributes
    ----------
    entries : tuple of SofEntry
        The files.
    source : str
        Name of the input, for messages.
    """

    entries: tuple[SofEntry, ...]
    source: str


def parse_sof(path: str | os.PathLike[str]) -> tuple[SofEntry, ...]:
    """Read a set-of-files file.

    A line is ``path TAG``; the tag may be missing, end in a binning as in ``BIAS_UVB_1x2``, or be followed by a group
    such as ``RAW``, which is ignored. A word that begins with ``#`` starts a comment. Single or double
    quotes allow spaces in a name. A quote counts at the start of a word or after a quoted part. Elsewhere it is
    an ordinary character, as every backslash is. ``~`` and environment variables are expanded, but not in single
    quotes. A relative path is looked up in the folder of the file, then in the working directory.

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
    errors = ErrorCollector()
    entries = []
    for number, line in enumerate(_sof_lines(path), 1):
        where = f"{escape(path.name)} line {number}"
        with errors.taken():
            words = _split(line, where)
            if words:
                tag, binning = words[1] if len(words) > 1 else None, None
                if tag and (match := _BINNED_TAG.fullmatch(tag)):
                    tag, binning = match[1], (int(match[2]), int(match[3]))
                found = _look_up(words[0], path.parent, where, quotes=len(words) > 2)
                entries.append(SofEntry(found, tag, where, binning=binning))
    errors.raise_any()
    if not entries:
        raise SetOfFilesError(f"{escape(path)}: lists no file, expected lines 'path TAG': list the frames")
    return tuple(entries)


def _sof_lines(path: Path) -> list[str]:
    name = escape(path)
    try:
        data = read_regular_file(path, SOF_LIMIT + 1)
    except OSError as error:
        raise SetOfFilesError(
            f"{name}: cannot be read ({error.strerror}), {_EXPECTED}: correct its path or permissions"
        ) from error
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
    """Return path, tag and group of a line, as far as it has them."""
    words: list[str] = []
    position = 0
    while position < len(line) and line[position] != "#":
        if line[position] in " \t":
            position += 1
        else:
            word, position = _word(line, position, where)
            words.append(word)
    if len(words) > 3 or (len(words) == 3 and not _GROUP.fullmatch(words[2])):
        raise SetOfFilesError(
            f"{where}: {len(words)} words, expected 'path TAG': put a name with spaces in quotes, a comment behind #"
        )
    if words and not words[0]:
        raise SetOfFilesError(f"{where}: the path is empty, expected 'path TAG': correct the line")
    for word in words:
        _refuse_control(word, where)
    return words


def _word(line: str, position: int, where: str) -> tuple[str, int]:
    """Return the word that begins here, expanded, and the position behind it."""
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
    if not name.isprintable() and any(unicodedata.category(character) in _CONTROL_CATEGORIES for character in name):
        raise SetOfFilesError(
            f"{where}: '{escape(name)}' holds a control character or broken unicode, expected plain text: "
            "rename the file"
        )


def _unreachable(path: Path) -> str:
    """Return why there is no such file for this user; an empty text where there is one."""
    try:
        os.stat(path)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        return _ABSENT if absent else f"cannot be read ({error.strerror})"
    return ""


def _look_up(name: str, folder: Path, where: str, quotes: bool) -> Path:
    for candidate in (folder / name, Path(name)):
        if not (reason := _unreachable(candidate)):
            return candidate
        if reason != _ABSENT:
            raise SetOfFilesError(f"{where}: {escape(candidate)} {reason}: correct its path or permissions")
    places = "" if Path(name).is_absolute() else f" in {escape(folder)} or the working directory"
    remedy = "put a name with spaces in quotes" if quotes else "correct the path"
    raise SetOfFilesError(f"{where}: {escape(name)} {_ABSENT}{places}: {remedy}, or remove the line")


def list_files(input_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Listing:
    """Resolve the input of a reduction into a list of files.

    Parameters
    ----------
    input_files : path-like or iterable of path-like
        FITS files, and at most one set-of-files file (its name ends in ``.sof``) or folder; of these any may be a
        `SofEntry`.

    Returns
    -------
    Listing
        From a folder: FITS names and others that may be frames, sorted, no hidden files; see `SofEntry.is_fits`.

    Raises
    ------
    SetOfFilesError
        When a file does not exist or cannot be listed: a line for each.
    """
    single = isinstance(input_files, (str, bytes, os.PathLike))
    items = [input_files] if single else list(input_files)  # type: ignore[arg-type]
    errors = ErrorCollector()
    files: list[SofEntry] = []
    sets: list[Path] = []
    for number, item in enumerate(items, 1):
        where = "input" if single else f"input {number}"
        with errors.taken():
            path = _given_path(item, where)
            if not (os.path.isdir(path) or path.suffix.lower() == ".sof"):
                files.append(item if isinstance(item, SofEntry) else SofEntry(path, None, where))
            elif sets:
                noun = "folder" if os.path.isdir(path) else "set of files"
                raise SetOfFilesError(
                    f"{where}: {escape(path)} is a second {noun}, expected one: reduce it in a separate run"
                )
            else:
                sets.append(path)
    errors.raise_any()
    if not sets and not files:
        raise SetOfFilesError("no input frames: give a set-of-files file, a folder or FITS files")
    if not sets:
        return Listing(tuple(files), "the input")
    path = sets[0]
    of_set = _folder_entries(path) if os.path.isdir(path) else parse_sof(path)
    return Listing((*of_set, *(replace(file, given_separately=True) for file in files)), escape(path))


def _given_path(item: object, where: str) -> Path:
    if not isinstance(item, (str, os.PathLike)) or not isinstance(os.fspath(item), str):
        raise SetOfFilesError(f"{where}: {format_value(item)} is not a path, expected text: give paths")
    path = Path(os.path.expanduser(item))
    _refuse_control(str(path), where)
    if reason := _unreachable(path):
        raise SetOfFilesError(f"{where}: {escape(path)} {reason}: correct the path")
    return path


def _folder_entries(folder: Path) -> tuple[SofEntry, ...]:
    try:
        names = sorted(name for name in os.listdir(folder) if FITS_NAME.fullmatch(name) or _OTHER_NAME.fullmatch(name))
    except OSError as error:
        raise SetOfFilesError(
            f"{escape(folder)}: cannot be read ({error.strerror}): correct its permissions"
        ) from error
    errors = ErrorCollector()
    for name in names:
        with errors.taken():
            _refuse_control(name, escape(folder))
    errors.raise_any()
    if not names:
        raise SetOfFilesError(f"{escape(folder)}: holds no FITS file, expected raw frames: give another folder")
    return tuple(SofEntry(folder / name, None, f"in {escape(folder)}", in_folder=True) for name in names)
