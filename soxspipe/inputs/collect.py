"""Collection of a set: from the files of the input to verified members, for raw frames and products alike."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..exceptions import ErrorCollector, InputError, SetOfFilesError, TooFewFramesError
from ..fits_files.checksums import ChecksumVerifier
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument, load_instrument
from ..run_log import get_logger
from ..text import listed
from .classify import LeftOut, Member
from .frame_kinds import BAD_PIXEL_MAP, PRODUCT_CATEGORY
from .set_of_files import Listing, SofEntry, list_files

__all__ = ["InputFiles", "InputSet", "SetCollector", "UniqueKey"]

log = get_logger(__name__)

#: Fault and remedy of a file that is listed twice.
SAME_FILE = "are the same file: list it once"

#: A set-of-files file or a folder, FITS files, or both.
InputFiles = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True)
class InputSet:
    """Files that were verified to belong together.

    Attributes
    ----------
    instrument, detector : Instrument, Detector
        Their instrument and detector.
    binning : tuple of int
        Of the raw frames, in y and x.
    read_mode : str or None
        Read-out mode.
    warnings : tuple of str
        Assumptions that were made and odd values, one line each.
    """

    instrument: Instrument
    detector: Detector
    binning: tuple[int, int]
    read_mode: str | None
    warnings: tuple[str, ...]

    @property
    def arm(self) -> str:
        """Arm of the detector."""
        return self.detector.arm


MemberT = TypeVar("MemberT", bound=Member)
SetT = TypeVar("SetT", bound=InputSet)


@dataclass(frozen=True)
class UniqueKey(Generic[MemberT]):
    """A property that must be unique in a set: copies are not independent frames.

    Attributes
    ----------
    key : hashable
        Its value.
    statement, remedy : str
        The message: "<one> and <other> <statement>: <remedy>".
    confirm : callable or None
        Decides whether two members with the same key really are copies.
    """

    key: Hashable
    statement: str
    remedy: str
    confirm: Callable[[MemberT, MemberT], bool] | None = None


class SetCollector(ABC, Generic[MemberT, SetT]):
    """Collects the members of a set and verifies that they belong together; a subclass for each kind of set.

    Parameters
    ----------
    noun, plural : str
        Name of a frame in messages, of one and of several.
    extra_table : path-like, optional
        The user's instrument table; it takes precedence over the shipped ones.
    strict_checksums : bool
        Whether a file with a wrong CHECKSUM or DATASUM is refused; else it is a warning.
    workers : int
        Threads that verify these sums.
    """

    #: Requirement and remedy where there are too few frames.
    requirement, addition = "", "frames of the same kind"

    def __init__(
        self,
        noun: str,
        plural: str,
        *,
        extra_table: str | os.PathLike[str] | None = None,
        strict_checksums: bool = False,
        workers: int = 1,
    ) -> None:
        self.noun, self.plural = noun, plural
        self.user_instrument: Instrument | None = None if extra_table is None else load_instrument(Path(extra_table))
        self.errors = ErrorCollector()
        self.checksums = ChecksumVerifier(self.errors, strict_checksums, workers)
        self.strict_checksums = strict_checksums
        self.warnings: list[str] = []
        self._remedy = f"add {self.addition}"

    @abstractmethod
    def classify(self, entry: SofEntry) -> MemberT | LeftOut:
        """Classify a file by its header. Raises InputError."""

    def is_calibration(self, member: MemberT) -> bool:
        """Return whether a member is a calibration, which does not count as a frame."""
        return False

    @abstractmethod
    def minimum_frames(self, frames: Sequence[MemberT]) -> int:
        """Return the smallest number of frames."""

    @abstractmethod
    def unique_keys(self, member: MemberT) -> Iterable[UniqueKey[MemberT]]:
        """Yield the properties that no other member may share."""

    @abstractmethod
    def build(self, frames: Sequence[MemberT], calibrations: Sequence[MemberT]) -> SetT | None:
        """Verify that frames and calibrations agree, and return the set; None where there is an error."""

    def collect(self, input_files: InputFiles) -> SetT:
        """Collect and verify a set.

        Parameters
        ----------
        input_files : path-like or iterable of path-like
            A set-of-files file (its name ends in ``.sof``) or a folder, FITS files, or both.

        Returns
        -------
        set
            The verified set.

        Raises
        ------
        InputError
            With all faults of the set, one line each. It is a SetOfFilesError, FrameError, MixedFramesError or
            TooFewFramesError where all faults are of that kind.
        """
        listing = list_files(input_files)
        members, n_broken = self._classify_all(listing)
        frames = [member for member in members if not self.is_calibration(member)]
        frames.sort(key=lambda frame: (frame.mjd, frame.path.name, str(frame.path)))
        calibrations = [member for member in members if self.is_calibration(member)]
        self._require_frames(listing.source, frames, n_broken)
        if self.strict_checksums or not self.errors:  # no checksums if the set is refused already
            frames = self.verify_checksums(frames)
        self._report_copies([*frames, *calibrations])
        result = self.build(frames, calibrations) if frames else None
        self.errors.raise_any()
        assert result is not None  # without a frame, or a geometry for it, there was an error
        return result

    def verify_checksums(self, frames: Sequence[MemberT]) -> list[MemberT]:
        """Verify the check sums of frames, and return the frames."""
        self.checksums.verify_each([(frame.images, frame.label) for frame in frames])
        return list(frames)

    def _classify_all(self, listing: Listing) -> tuple[list[MemberT], int]:
        """Return the members, and the number of files that could not be classified."""
        members: list[MemberT] = []
        left_out: list[LeftOut] = []
        n_broken = 0
        first: dict[Path, SofEntry] = {}
        for entry in self.reading_order(listing.entries):
            if BAD_PIXEL_MAP.matches({PRODUCT_CATEGORY: entry.tag}):  # in a list of products, beside its master
                log.info("%s: is not used, its tag is %s", entry.label, entry.tag)
                continue
            twin = first.setdefault(entry.path, entry)
            if twin is not entry:
                n_broken += 1
                self.errors.add(SetOfFilesError, f"{twin.label} and {entry.label} {SAME_FILE}")
                continue
            try:
                found = self.classify(entry) if entry.is_fits else LeftOut(entry, "not read under this name")
            except InputError as error:
                n_broken += 1
                self.errors.take(error)
                continue
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                members.append(found)
        if left_out:
            self.warnings.append(f"{listing.source}: left out, not a {self.noun}: {listed(left_out)}")
            self._remedy = next((file.remedy for file in left_out if file.remedy), self._remedy)
        return members, n_broken

    def reading_order(self, entries: Sequence[SofEntry]) -> Sequence[SofEntry]:
        """Return the files in the order in which they are classified."""
        return entries

    def _require_frames(self, source: str, frames: Sequence[MemberT], n_broken: int) -> None:
        minimum, found = max(self.minimum_frames(frames), 1), len(frames) + n_broken
        if found < minimum and (frames or not n_broken):  # files that all are broken have errors enough
            noun = self.noun if found == 1 else self.plural
            hint = f" ({self.warnings[0]})" if self.warnings else ""
            self.errors.add(
                TooFewFramesError,
                f"{source}: {found} {noun}, expected at least {minimum}{self.requirement}{hint}: {self._remedy}",
            )

    def _report_copies(self, members: Sequence[MemberT]) -> None:
        """Report a file that is listed twice, and copies of an exposure."""
        first: dict[Hashable, MemberT] = {}
        for member in members:
            for unique in self.unique_keys(member):
                twin = first.setdefault(unique.key, member)
                if twin is not member and (unique.confirm is None or unique.confirm(twin, member)):
                    self.errors.add(
                        SetOfFilesError,
                        f"{twin.label} and {member.label} {unique.statement}: {unique.remedy}",
                    )
                    break
