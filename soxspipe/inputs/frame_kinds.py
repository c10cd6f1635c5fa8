"""Kinds of frames: the declaration from which tags, classification, verification and documentation follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "BAD_PIXEL_MAP", "MASTER_BIAS", "MASTER_DARK", "PREPARED", "PRODUCT_CATEGORY", "RECIPE", "SIMULATED",
    "STATIC_MAP", "FrameKind", "ProductKind", "numbered", "recorded_bias", "recorded_parameters",
]  # fmt: skip

#: Keyword of a product's category; raw frames do not have it.
PRODUCT_CATEGORY = "ESO PRO CATG"
#: Beginning of the keywords that record how a product was made.
RECIPE = "ESO PRO REC1"
#: Keyword that is true in simulated frames, and in what is made of them.
SIMULATED = "SIMULATE"


@dataclass(frozen=True)
class ProductKind:
    """A kind of products; the arm follows in category and tag, as in ``MASTER_BIAS_VIS``.

    Attributes
    ----------
    category : str
        ``ESO PRO CATG`` without the arm.
    noun : str
        Its name in messages.
    dpr_type : str
        ``ESO DPR TYPE`` of the raw frames that it is made of; empty where it is not made by soxspipe.
    command : str
        The command that makes it.
    same_read_mode : bool
        Whether it belongs to one read-out mode, as a master bias does and a bad-pixel map does not.
    """

    category: str
    noun: str
    dpr_type: str = ""
    command: str = ""
    same_read_mode: bool = False

    def matches(self, header: Mapping[str, Any]) -> bool:
        """Return whether a header is that of such a product, of any arm."""
        return str(header.get(PRODUCT_CATEGORY)).strip().startswith(f"{self.category}_")

    def remedy(self, dpr_type: Any) -> str | None:
        """Return what to do with a raw frame that such a product is made of; None for other frames."""
        if not self.dpr_type or not has_type(dpr_type, self.dpr_type):
            return None
        return f"reduce such frames with 'soxspipe {self.command}' first, and give the {self.noun}"


def has_type(value: Any, dpr_type: str) -> bool:
    """Return whether a value of ``ESO DPR TYPE``, which may list several words, has a word."""
    return dpr_type in (word.strip() for word in str(value).split(","))


MASTER_BIAS = ProductKind("MASTER_BIAS", "master bias", "BIAS", "mbias", same_read_mode=True)
MASTER_DARK = ProductKind("MASTER_DARK", "master dark", "DARK", "mdark", same_read_mode=True)
STATIC_MAP = ProductKind("BP_MAP_RP", "static bad-pixel map")
#: The codes of a master dark as a file; no recipe takes it.
BAD_PIXEL_MAP = ProductKind("BP_MAP_HP", "bad-pixel map")
PREPARED = ProductKind("PREPARED", "prepared frame")


@dataclass(frozen=True)
class FrameKind:
    """A kind of raw frames, as a recipe declares it.

    Attributes
    ----------
    tag : str
        Tag in a set of files; the arm may follow, as in ``DARK_NIR``.
    dpr_type : str
        Word that ``ESO DPR TYPE`` must have; empty for frames of any type and category.
    noun : str
        Its name in messages.
    exposure : {'positive', 'zero'}
        Exposure time of such frames.
    calibrations : tuple of ProductKind
        Calibrations that the input may contain, one of each kind.
    refused_modes : mapping of str to str
        Detectors that have no such frames: the ``mode`` of their table, and the reason.
    """

    tag: str
    dpr_type: str
    noun: str
    exposure: Literal["positive", "zero"]
    calibrations: tuple[ProductKind, ...] = ()
    refused_modes: Mapping[str, str] | None = None

    @property
    def plural(self) -> str:
        """Its name in messages, of several."""
        return f"{self.noun}es" if self.noun.endswith("s") else f"{self.noun}s"

    def matches(self, dpr_type: Any) -> bool:
        """Return whether a value of ``ESO DPR TYPE`` is of this kind."""
        return has_type(dpr_type, self.dpr_type) if self.dpr_type else dpr_type is not None

    def takes_prepared(self, header: Mapping[str, Any]) -> bool:
        """Return whether a header is that of a prepared frame, and the kind takes frames of any type."""
        return not self.dpr_type and PREPARED.matches(header)

    def calibration(self, tag: str | None) -> ProductKind | None:
        """Return the kind of calibration for a tag or category; None if there is none."""
        stem = str(tag).strip().rpartition("_")[0]
        return next((kind for kind in self.calibrations if kind.category == stem), None)


def numbered(header: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Yield the beginnings of numbered keywords that a header has, e.g. ``ESO PRO REC1 RAW1``."""
    number = 1
    while f"{RECIPE} {kind}{number} NAME" in header:
        yield f"{RECIPE} {kind}{number}"
        number += 1


def recorded_bias(header: Mapping[str, Any]) -> dict[str, str] | None:
    """Return NAME, CATG and DATAMD5 of the master bias of which a product was made; None where it had none."""
    for keyword in numbered(header, "CAL"):
        if MASTER_BIAS.matches({PRODUCT_CATEGORY: header.get(f"{keyword} CATG")}):
            return {word: str(header.get(f"{keyword} {word}", "")) for word in ("NAME", "CATG", "DATAMD5")}
    return None


def recorded_parameters(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with which a product was made, by name."""
    return {str(header[f"{keyword} NAME"]): header.get(f"{keyword} VALUE") for keyword in numbered(header, "PARAM")}
