"""What can go wrong, as a small tree: the class says whose fault it is, and so the exit code."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "CommandLineError",
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
]


class SoxspipeError(ValueError):
    """Base of everything that soxspipe raises on purpose.

    Parameters
    ----------
    faults : str or iterable of str
        What is wrong, one line a fault: the file, what was found, what was expected and what to do.

    Attributes
    ----------
    faults : tuple of str
        The same lines; ``str(error)`` joins them.
    exit_code : int
        What the command line exits with: 2 when the input is at fault, 1 for faults of program or machine.
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


class SettingsError(InputError):
    """The settings file holds an unknown key, a wrong type or a value out of range."""


class SetOfFilesError(InputError):
    """The set of files cannot be read, or lists what is not there."""


class FrameError(InputError):
    """A file is not the frame that it should be: truncated, unreadable, of the wrong type."""


class MixedFramesError(InputError):
    """The frames of a set do not belong together."""


class TooFewFramesError(InputError):
    """There are fewer frames than the recipe needs."""


class TooFewPixelsError(InputError):
    """There are too few good pixels to measure from."""


class ProductExistsError(InputError):
    """The product is already there, and was left alone."""


class ProductError(SoxspipeError):
    """The product could not be written: disk full, folder read-only, another run in the way."""


class ErrorCollector:
    """Collects what is wrong with a set, to tell all of it at once."""

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

    def raise_any(self) -> None:
        """Raise what was noted: as its class where all faults are of one kind, else as InputError."""
        kinds = set(self._found.values())
        if kinds:
            raise (kinds.pop() if len(kinds) == 1 else InputError)(self._found)
