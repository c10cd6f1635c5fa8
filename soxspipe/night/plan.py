"""The plan of a night: which sets are reduced, in which order, with which calibrations; which files are left out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from ..inputs.exposure import mode_keywords, read_mode_of
from ..inputs.frame_kinds import MASTER_BIAS, STATIC_MAP, FrameKind
from ..instruments.keywords import Instrument, all_instruments
from ..products.headers import product_stem
from ..products.provenance import Naming
from ..settings import Settings
from ..text import counted, escape
from .attach_calibrations import LEVEL_WORDS, Attached, attach
from .find_frames import NightFile
from .group_frames import group_frames

__all__ = ["Plan", "PlannedSet", "SetRecipe", "make_plan"]


@dataclass(frozen=True)
class SetRecipe:
    """A recipe of raw frames, as the plan needs it.

    Attributes
    ----------
    command : str
        Its command.
    name : str
        Its class with its module, as `~soxspipe.execution.job.ReductionJob` has it.
    kind : FrameKind
        Kind of its raw frames.
    product_word, category : str
        Word for the product in file names, and its category without the arm.
    minimum_frames : callable
        Returns the smallest number of frames for an arm.
    """

    command: str
    name: str
    kind: FrameKind
    product_word: str
    category: str
    minimum_frames: Callable[[str], int]


@dataclass(frozen=True)
class PlannedSet:
    """Raw frames that make one product.

    Attributes
    ----------
    recipe : SetRecipe
        The recipe that reduces them.
    name : str
        Name of the product without ending; the set-of-files file has it too.
    product : str
        Path of the product.
    tag : str
        Tag of the frames, such as ``DARK_NIR``.
    frames : tuple of NightFile
        The frames in order of time.
    attached : tuple of Attached
        Calibrations.
    notes : tuple of str
        Calibrations that were not found or do not fit, and frames of the template that are missing.
    problem : str
        Why the set is not reduced; empty where it is.
    is_failure : bool
        Whether that is a failure of the reduction: two sets would have one product. Too few frames are none.
    lacks : tuple of str
        Kinds of calibrations that its detector needs and that were not found.
    """

    recipe: SetRecipe
    name: str
    product: str
    tag: str
    frames: tuple[NightFile, ...]
    attached: tuple[Attached, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    is_failure: bool = False
    lacks: tuple[str, ...] = ()

    @property
    def sof_name(self) -> str:
        """Name of the set-of-files file."""
        return f"{self.name}.sof"

    def sof_text(self) -> str:
        """Return the content of the set-of-files file."""
        lines = [f"# soxspipe {self.recipe.command}: {len(self.frames)} frames for {self.name}.fits"]
        lines += [f"{shlex.quote(frame.path)} {self.tag}" for frame in self.frames]
        for one in self.attached:
            words = f"quality level {one.level} ({LEVEL_WORDS[one.level]}), {one.age_days:.2f} days apart"
            lines.append(f"{shlex.quote(one.candidate.path)} {one.candidate.kind}_{one.candidate.arm}  # {words}")
        return "\n".join([*lines, ""])

    def as_mapping(self) -> dict[str, Any]:
        """Return what JSON holds of the set."""
        first = self.frames[0]
        return {
            "command": self.recipe.command,
            "name": self.name,
            "sof": self.sof_name,
            "product": self.product,
            "tag": self.tag,
            "instrument": first.instrument,
            "arm": first.arm,
            "exposure_s": first.exposure_s,
            "start_mjd": first.mjd,
            "values": dict(first.values),
            "frames": [frame.path for frame in self.frames],
            "calibrations": [
                {
                    "category": f"{one.candidate.kind}_{one.candidate.arm}",
                    "path": one.candidate.path,
                    "made_by_this_plan": bool(one.candidate.product),
                    "age_days": one.age_days,
                    "quality_level": one.level,
                }
                for one in self.attached
            ],
            "notes": list(self.notes),
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Plan:
    """The plan of a night.

    Attributes
    ----------
    sets : tuple of PlannedSet
        All sets; one comes after those whose products it needs.
    left_out : tuple of NightFile
        Files that are in no set, each with its reason.
    """

    sets: tuple[PlannedSet, ...]
    left_out: tuple[NightFile, ...]

    @property
    def reducible(self) -> tuple[PlannedSet, ...]:
        """Sets without a problem."""
        return tuple(one for one in self.sets if not one.problem)

    def as_mapping(self) -> dict[str, Any]:
        """Return what JSON holds of the plan."""
        return {
            "sets": [one.as_mapping() for one in self.sets],
            "left_out": [{"path": file.path, "reason": file.reason} for file in self.left_out],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each file: its set, or why it is in none."""
        rows = []
        for one in self.sets:
            state = one.problem or "planned"
            rows += [_row(frame, one.name, one.recipe.command, state) for frame in one.frames]
        rows += [_row(file, "", "", file.reason) for file in self.left_out]
        return sorted(rows, key=lambda row: str(row["path"]))


def _row(file: NightFile, set_name: str, command: str, state: str) -> dict[str, Any]:
    raw = bool(set_name)
    return {
        "path": escape(file.path),
        "kind": file.kind,
        "instrument": file.instrument,
        "arm": file.arm,
        "mjd": file.mjd if raw else "",
        "exposure_s": file.exposure_s if raw else "",
        "set": set_name,
        "command": command,
        "state": state,
    }


def make_plan(files: Sequence[NightFile], recipes: Sequence[SetRecipe], settings: Settings, output_dir: Path) -> Plan:
    """Group raw frames, attach calibrations, and order the sets.

    Parameters
    ----------
    files : sequence of NightFile
        Files of the night.
    recipes : sequence of SetRecipe
        Recipes for its raw frames.
    settings : Settings
        Gap between sets, age of calibrations, smallest number of frames.
    output_dir : pathlib.Path
        Folder of the products.

    Returns
    -------
    Plan
    """
    instruments = {one.name: one for one in all_instruments(settings.instruments.table)}
    by_tag = {recipe.kind.tag: recipe for recipe in recipes}
    raw = [file for file in files if file.kind in by_tag and not file.reason]
    sets: list[PlannedSet] = []
    names: set[str] = set()
    for frames in group_frames(raw, settings.night.gap_minutes / 60):
        one = _planned_set(by_tag[frames[0].kind], frames, instruments[frames[0].instrument], output_dir)
        if not one.problem and one.name.casefold() in names:  # a disk may not tell cases apart
            problem = (
                f"another set has a product of the name {one.name}: reduce these frames alone, into another folder"
            )
            one = replace(one, problem=problem, is_failure=True)
        if not one.problem:
            names.add(one.name.casefold())
        sets.append(one)
    made = [_as_candidate(one) for one in sets if not one.problem]
    to_be_made = {os.path.realpath(candidate.path) for candidate in made}
    on_disk = [
        file
        for file in files
        if file.kind and not file.reason and file.kind not in by_tag and os.path.realpath(file.path) not in to_be_made
    ]
    complete = [
        one
        if one.problem
        else _with_calibrations(one, [*made, *on_disk], instruments[one.frames[0].instrument], settings)
        for one in sets
    ]
    used = {one.candidate.path for planned in complete for one in planned.attached}
    left_out = [file for file in files if file.reason]
    left_out += [
        replace(file, reason=f"a {file.kind.lower().replace('_', ' ')} that no set needs")
        for file in files
        if not file.reason and file.kind not in by_tag and file.path not in used
    ]
    return Plan(tuple(_in_order(complete)), tuple(sorted(left_out, key=lambda file: file.path)))


def _planned_set(
    recipe: SetRecipe, frames: Sequence[NightFile], instrument: Instrument, output_dir: Path
) -> PlannedSet:
    """Return the set of a group, with the name that its product will have."""
    first = frames[0]
    binning = [_value(first.values, instrument, meaning) or 1 for meaning in ("biny", "binx")]
    naming = Naming(
        begin_mjd=first.mjd,
        exptime_s=first.exposure_s,
        instrument=instrument,
        detector=instrument.detectors[first.arm],
        binning=(binning[0], binning[1]),
        read_mode=read_mode_of(instrument, first.values),
    )
    name = product_stem(naming, recipe.product_word)
    minimum = recipe.minimum_frames(first.arm)
    problem = ""
    if len(frames) < minimum:
        problem = f"{counted(len(frames), 'frame')}, expected at least {minimum}"
    notes = []
    if len(frames) < first.run_frames:
        notes.append(f"the template has {first.run_frames} frames, found {len(frames)}")
    tag = f"{recipe.kind.tag}_{first.arm}"
    return PlannedSet(recipe, name, str(output_dir / f"{name}.fits"), tag, tuple(frames), (), tuple(notes), problem)


def _as_candidate(one: PlannedSet) -> NightFile:
    path = os.path.abspath(one.product)
    return replace(one.frames[0], path=path, kind=one.recipe.category, product=one.name)


def _with_calibrations(
    one: PlannedSet, candidates: Sequence[NightFile], instrument: Instrument, settings: Settings
) -> PlannedSet:
    """Return a set with the calibrations that fit it."""
    attached, notes, lacks = [], list(one.notes), []
    windows = {MASTER_BIAS: settings.night.bias_windows_days, STATIC_MAP: settings.night.map_windows_days}
    detector = instrument.detectors[one.frames[0].arm]
    for kind in one.recipe.kind.calibrations:
        compared = [*_keywords(instrument, "chip", "binx", "biny"), "NAXIS1", "NAXIS2"]
        if kind.same_read_mode:
            compared += [*mode_keywords(instrument), *_keywords(instrument, "conad", "gain")]
        found, misses = attach(kind, _as_candidate(one), candidates, windows[kind], compared)
        if found is not None:
            attached.append(found)
        elif kind is not STATIC_MAP and detector.mode != "read_mode":  # an infrared detector has no bias
            notes += [f"no {kind.noun}: {miss}" for miss in misses]
            lacks.append(kind.category)
    return replace(one, attached=tuple(attached), notes=tuple(notes), lacks=tuple(lacks))


def _value(values: Mapping[str, Any], instrument: Instrument, meaning: str) -> Any:
    """Return the value of a meaning; a default of the instrument table has the meaning as its keyword."""
    found = (values.get(keyword) for keyword in (*instrument.keywords[meaning], meaning))
    return next((value for value in found if value is not None), None)


def _keywords(instrument: Instrument, *meanings: str) -> list[str]:
    """Return all keywords that may hold some meanings."""
    return [keyword for meaning in meanings for keyword in instrument.keywords.get(meaning, ())]


def _in_order(sets: Sequence[PlannedSet]) -> list[PlannedSet]:
    """Return the sets so that each comes after those whose products it needs, else in order of time."""
    needs = {one.name: {two.candidate.product for two in one.attached} - {""} for one in sets if not one.problem}
    depth: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        depth[name] = max((depth[need] + 1 for need in needs[name]), default=0)
    return sorted(sets, key=lambda one: (0 if one.problem else depth[one.name], one.frames[0].mjd, one.name))
