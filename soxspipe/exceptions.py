"""Exceptions of soxspipe. Their class decides the exit code: a fault of the input, or of program or machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "CommandLineError",
    "DatabaseError",
    "ErrorCollector",
    "FrameError",
    "InputError",
    "MixedFramesError",
    "ProductError",
    "ProductExistsError",
    "SetOfFilesError",
    "SettingsError",
    "SoxspipeError",
    "TooFewFramesError",
    "TooFewPixelsError",
    "WrongDatabaseError",
]


class SoxspipeError(ValueError):
    """Base of everything that soxspipe raises on purpose.

    Parameters
    ----------
    faults : str or iterable of str
        The faults, one line each: the file, the value found, the value expected and the remedy.

    Attributes
    ----------
    faults : tuple of str
        The same lines; ``str(error)`` joins them.
    exit_code : int
        Exit code of the command line: 2 for a fault of the input, 1 for a fault of program or machine.
    """

    exit_code = 1

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[type[SoxspipeError], tuple[tuple[str, ...]]]:
        return type(self), (self.faults,)


class InputError(SoxspipeError):
    """The input is at fault; nothing was written."""

    exit_code = 2


class CommandLineError(InputError):
    """The command line asks for something that does not exist."""


class DatabaseError(SoxspipeError):
    """The quality database cannot be reached, read or written: disk full, folder read-only, no server, kept busy."""


class WrongDatabaseError(DatabaseError, InputError):
    """The quality database does not exist, is damaged, or is of another program or a newer version."""


class SettingsError(InputError):
    """The settings file holds an unknown key, a wrong type or a value out of range."""


class SetOfFilesError(InputError):
    """The set of files cannot be read, or lists files that do not exist."""


class FrameError(InputError):
    """A file is not the frame that it should be: truncated, unreadable, of the wrong type."""


class MixedFramesError(InputError):
    """The frames of a set do not belong together."""


class TooFewFramesError(InputError):
    """There are fewer frames than the recipe needs."""


class TooFewPixelsError(InputError):
    """There are too few good pixels to measure from."""


class ProductExistsError(InputError):
    """The product exists already; it was not replaced."""


class ProductError(SoxspipeError):
    """The product could not be written: disk full, folder read-only, another run in the way."""


class ErrorCollector:
    """Collects the faults of a set, to report all of them at once."""

    def __init__(self) -> None:
        self._found: dict[str, type[InputError]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: type[InputError], line: str) -> None:
        """Note a fault; the same line counts once."""
        self._found.setdefault(line, kind)

    def take(self, error: InputError) -> None:
        """Note the faults of an error."""
        for line in error.faults:
            self.add(type(error), line)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Note the faults of an InputError that the block raises, and go on behind it."""
        try:
            yield
        except InputError as error:
            self.take(error)

    def raise_any(self) -> None:
        """Raise the noted faults: as their class where all are of one kind, else as InputError."""
        kinds = set(self._found.values())
        if kinds:
            raise (kinds.pop() if len(kinds) == 1 else InputError)(self._found)
