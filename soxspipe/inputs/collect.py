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
from ..fits_files.images import FitsImage
from ..instruments.keywords import Instrument, load_instrument
from .classify import LeftOut
from .consistency import Labelled
from .set_of_files import Listing, SofEntry, list_files

__all__ = ["Identity", "SetCollector"]

#: Files left out of a folder that a warning names.
NAMED_LEFT_OUT = 10

InputFiles = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
MemberT = TypeVar("MemberT", bound=Labelled)
SetT = TypeVar("SetT")


@dataclass(frozen=True)
class Identity(Generic[MemberT]):
    """A property that no two members of a set may share, as copies of an exposure would pass for independent frames.

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
    extra_table : path-like, optional
        An instrument table that comes before those shipped.
    strict_checksums : bool
        Whether a file with a wrong CHECKSUM or DATASUM is refused; else it is a warning.
    workers : int
        Threads that verify these sums.
    """

    #: Name of a frame in messages, of one and of several.
    noun: str
    plural: str
    #: Requirement and remedy where there are too few frames.
    requirement, addition = "", "frames of the same kind"

    def __init__(
        self, *, extra_table: str | os.PathLike[str] | None = None, strict_checksums: bool = False, workers: int = 1
    ) -> None:
        self.extra: Instrument | None = None if extra_table is None else load_instrument(Path(extra_table))
        self.errors = ErrorCollector()
        self.checksums = ChecksumVerifier(self.errors, strict_checksums, workers)
        self.strict_checksums = strict_checksums
        self.warnings: list[str] = []

    @abstractmethod
    def classify(self, entry: SofEntry) -> MemberT | LeftOut:
        """Classify a file by its header. Raises InputError."""

    @abstractmethod
    def is_counted(self, member: MemberT) -> bool:
        """Return whether a member is one of the frames, not a calibration beside them."""

    @abstractmethod
    def fewest(self, counted: Sequence[MemberT]) -> int:
        """Return the smallest number of frames."""

    @abstractmethod
    def time_order(self, member: MemberT) -> tuple[float, str, str]:
        """Return the key by which frames are sorted: start, name, path."""

    @abstractmethod
    def images(self, member: MemberT) -> Sequence[FitsImage]:
        """Return the images of a frame whose check sums are verified."""

    def with_datasum(self, member: MemberT, datasum: str) -> MemberT:
        """Return the member with the check sum that was found for its last image."""
        return member

    @abstractmethod
    def identities(self, member: MemberT) -> Iterable[Identity[MemberT]]:
        """Yield the properties that no other member may share."""

    @abstractmethod
    def build(self, frames: Sequence[MemberT], others: Sequence[MemberT]) -> SetT | None:
        """Verify that frames and calibrations agree, and return the set; None where there is an error."""

    def collect(self, input_files: InputFiles) -> SetT:
        """Collect and verify a set.

        Parameters
        ----------
        input_files : path-like or iterable of path-like
            A set-of-files file (its name ends in ``.sof``), a folder, or FITS files, which may also stand beside a set
            or folder.

        Returns
        -------
        set
            Its files were read once, for their check sums.

        Raises
        ------
        InputError
            With all faults of the set, a line each. It is a SetOfFilesError, FrameError, MixedFramesError or
            TooFewFramesError where all faults are of that kind.
        """
        listing = list_files(input_files)
        members, n_broken = self._classify_all(listing)
        frames = sorted((member for member in members if self.is_counted(member)), key=self.time_order)
        others = [member for member in members if not self.is_counted(member)]
        self._require_frames(listing.source, frames, n_broken)
        if self.strict_checksums or not self.errors:  # a set that is refused anyway is refused at once
            sums = self.checksums.verify_each([(self.images(frame), frame.label) for frame in frames])
            frames = [self.with_datasum(frame, datasum) for frame, datasum in zip(frames, sums, strict=True)]
        self._report_copies([*frames, *others])
        result = self.build(frames, others) if frames else None
        self.errors.raise_any()
        assert result is not None  # without a frame, or a geometry for it, there was an error
        return result

    def _classify_all(self, listing: Listing) -> tuple[list[MemberT], int]:
        """Return the members, and the number of files that could not be classified."""
        members: list[MemberT] = []
        left_out: list[LeftOut] = []
        n_broken = 0
        for entry in self.reading_order(listing.entries):
            try:
                found = self.classify(entry)
            except InputError as error:
                n_broken += 1
                self.errors.take(error)
                continue
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                members.append(found)
        if left_out:
            names = ", ".join(map(str, left_out[:NAMED_LEFT_OUT]))
            more = f" and {len(left_out) - NAMED_LEFT_OUT} more" if len(left_out) > NAMED_LEFT_OUT else ""
            self.warnings.append(f"{listing.source}: left out, not a {self.noun}: {names}{more}")
        return members, n_broken

    def reading_order(self, entries: Sequence[SofEntry]) -> Sequence[SofEntry]:
        """Return the files in the order in which they are classified."""
        return entries

    def _require_frames(self, source: str, frames: Sequence[MemberT], n_broken: int) -> None:
        fewest, n_frames = max(self.fewest(frames), 1), len(frames) + n_broken
        if n_frames < fewest:
            noun = self.noun if n_frames == 1 else self.plural
            hint = f" ({self.warnings[0]})" if self.warnings else ""
            self.errors.add(
                TooFewFramesError,
                f"{source}: {n_frames} {noun}, expected at least {fewest}{self.requirement}{hint}: add {self.addition}",
            )

    def _report_copies(self, members: Sequence[MemberT]) -> None:
        """Report a file that is listed twice, and copies of an exposure."""
        first: dict[Hashable, MemberT] = {}
        for member in members:
            for identity in self.identities(member):
                twin = first.setdefault(identity.key, member)
                if twin is not member and (identity.confirm is None or identity.confirm(twin, member)):
                    self.errors.add(
                        SetOfFilesError,
                        f"{twin.label} and {member.label} {identity.statement}: {identity.remedy}",
                    )
                    break
