"""The command that plans the reduction of folders."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from ..instruments.keywords import load_instrument
from ..night.find_frames import find_frames
from ..night.known_headers import HEADERS_NAME, headers_text, load_headers
from ..night.plan import Plan, PlannedSet, SetRecipe, make_plan
from ..products.atomic_files import AtomicFiles
from ..settings import Settings
from ..text import escape, listed
from .run_options import output_option, settings_option
from .terminal import Terminal, write_result
from .usage import RECIPES, path_argument

__all__ = ["PLAN_CSV", "plan_folders", "plan_text", "run"]

PLAN_JSON, PLAN_CSV = "plan.json", "plan.csv"
#: Files of one reason that are named; the others are in the plan's files.
NAMED = 3


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Plan the reduction of folders, write the plan and its sets of files, and return the exit code."""
    output = Path(output_option(options))
    folders = [path_argument(path, "directory") for path in options["<directory>"]]
    plan = plan_folders(folders, settings_option(options), output, terminal)
    write_result(plan_text(plan, as_json=options["--json"]))
    if not options["--json"]:
        terminal.inform(f"written to {escape(output)}: {PLAN_JSON}, {PLAN_CSV}, one .sof for each set to reduce")
    return 0


def plan_folders(
    folders: Sequence[str], settings: Settings, output: Path, terminal: Terminal, *, write: bool = True
) -> Plan:
    """Make the plan of folders, and write it with its sets of files; raw frames are only read."""
    recipes = _set_recipes(settings)
    kinds, table = [recipe.kind for recipe in recipes], settings.instruments.table
    known = load_headers(output, kinds, table)
    files = find_frames(
        folders,
        kinds,
        None if table is None else load_instrument(table),
        known=known,
        progress=terminal.progress("headers"),
    )
    plan = make_plan(files, recipes, settings, output)
    if not write:
        return plan
    contents = {
        PLAN_JSON: f"{json.dumps(plan.as_mapping(), indent=2, allow_nan=False)}\n".encode(),
        PLAN_CSV: _csv_text(plan).encode(),
        HEADERS_NAME: headers_text({file.path: known[file.path] for file in files if file.path in known}, kinds, table),
        **{one.sof_name: one.sof_text().encode() for one in plan.reducible},
    }
    changed = {name: content for name, content in contents.items() if _content(output / name) != content}
    if changed:
        with AtomicFiles(output, list(changed), overwrite=True, durable=False) as written:  # the next call repeats it
            for name, content in changed.items():
                written.write(name, [content])
            written.commit()
    return plan


def _set_recipes(settings: Settings) -> list[SetRecipe]:
    """Return the recipes of raw frames."""
    recipes = []
    for command, (name, argument) in RECIPES.items():
        if argument != "<inputFrames>":
            continue
        recipe = resolve_name(name)

        def minimum_frames(arm: str, section: str = recipe.sections[0]) -> int:
            return int(getattr(settings.for_arm(arm), section).minimum_frames)

        recipes.append(SetRecipe(command, name, recipe.kind, recipe.product_word, recipe.category, minimum_frames))
    return recipes


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _csv_text(plan: Plan) -> str:
    """Return the plan as a table with a line for each file."""
    text = io.StringIO()
    rows = plan.rows()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def plan_text(plan: Plan, *, as_json: bool) -> str:
    """Return the plan as JSON, or as a table for a person."""
    if as_json:
        return json.dumps(plan.as_mapping(), indent=2)
    from astropy.table import Table

    lines = []
    if plan.sets:
        rows = [_set_row(one) for one in plan.sets]
        lines += Table({name: [row[name] for row in rows] for name in rows[0]}).pformat(
            max_lines=-1, max_width=-1, align="<", show_unit=False
        )
    for one in plan.sets:
        lines += [f"{one.name}: {escape(note)}" for note in one.notes]
    if plan.left_out:
        lines += ["", f"left out: {len(plan.left_out)} file{'s' if len(plan.left_out) > 1 else ''}"]
        names: dict[str, list[str]] = {}
        for file in plan.left_out:
            names.setdefault(file.reason, []).append(escape(file.name))
        for reason, of_reason in names.items():
            lines.append(f"  {listed(of_reason, NAMED)}: {escape(reason)}")
    counts = Counter(one.recipe.command for one in plan.reducible)
    words = ", ".join(f"{number} for {command}" for command, number in sorted(counts.items())) or "none"
    return "\n".join([*lines, "", f"sets to reduce: {words}"])


def _set_row(one: PlannedSet) -> dict[str, Any]:
    levels = [f"{attached.candidate.kind} (level {attached.level})" for attached in one.attached]
    return {
        "product": one.name,
        "command": one.recipe.command,
        "frames": len(one.frames),
        "exposure s": f"{one.frames[0].exposure_s:g}",
        "calibrations": ", ".join(levels) or "-",
        "state": escape(one.problem) or "to reduce",
    }
