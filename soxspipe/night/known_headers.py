"""Headers that are kept between two calls, so that only new and changed files are read again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..inputs.frame_kinds import FrameKind
from ..version import __version__
from ..yaml_files import read_yaml_text
from .find_frames import KnownHeaders

__all__ = ["HEADERS_NAME", "headers_text", "load_headers"]

#: Name of the file that keeps them.
HEADERS_NAME = "plan_headers.json"


@dataclass(frozen=True)
class _Content:
    """Content of the file."""

    made_with: str
    files: KnownHeaders


_CONTENT = TypeAdapter(_Content)


def load_headers(folder: Path, kinds: Sequence[FrameKind], table: Path | None) -> KnownHeaders:
    """Read the headers that an earlier call kept.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the plan.
    kinds : sequence of FrameKind
        Kinds of frames.
    table : pathlib.Path or None
        The user's instrument table.

    Returns
    -------
    dict
        Empty where there is no such file, or where another version or table wrote it.
    """
    try:
        content = _CONTENT.validate_json((folder / HEADERS_NAME).read_bytes())
    except (OSError, ValidationError):
        return {}  # it only saves time
    return content.files if content.made_with == _made_with(kinds, table) else {}


def headers_text(known: KnownHeaders, kinds: Sequence[FrameKind], table: Path | None) -> bytes:
    """Return the content of the file that keeps headers."""
    return _CONTENT.dump_json(_Content(_made_with(kinds, table), known))


def _made_with(kinds: Sequence[FrameKind], table: Path | None) -> str:
    """Return a hash of the version, kinds and instrument table, on which the descriptions depend."""
    parts = [__version__, repr(kinds), "" if table is None else read_yaml_text(table)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
