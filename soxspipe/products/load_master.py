"""A master dark or master bias as its header and images, for comparison."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..comparison.master_images import MasterImages
from ..exceptions import FrameError, MixedFramesError
from ..fits_files.checksums import read_verified_images
from ..fits_files.pixel_reader import read_images
from ..inputs.exposure import setting_keywords
from ..inputs.frame_kinds import MASTER_BIAS, MASTER_DARK, PRODUCT_CATEGORY, numbered, recorded_bias
from ..inputs.keyword_rules import RULES, read_number
from ..inputs.masters import detector_of
from ..inputs.prepare import require_usable
from ..instruments.detectors import Detector, Geometry
from ..instruments.keywords import Instrument
from ..pixel_codes import PixelCode
from ..text import escape, format_value

__all__ = ["LoadedMaster", "load_master"]

#: Planes of a master.
PLANES = ("FLUX", "ERRS", "QUAL", "NOISE", "NCOMBINE")
_KINDS = (MASTER_DARK, MASTER_BIAS)


@dataclass(frozen=True)
class LoadedMaster:
    """A master with its header and images.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    header : astropy.io.fits.Header
        Its primary header.
    category : str
        Its ``ESO PRO CATG`` without the arm.
    instrument, detector, geometry : Instrument, Detector, Geometry
        Instrument, detector, and where the pixels of a raw frame lie.
    images : MasterImages
        Its images in raw orientation.
    """

    path: Path
    header: fits.Header = field(repr=False)
    category: str
    instrument: Instrument = field(repr=False)
    detector: Detector = field(repr=False)
    geometry: Geometry = field(repr=False)
    images: MasterImages = field(repr=False)

    @property
    def label(self) -> str:
        """Its name, for messages."""
        return escape(self.path.name)

    @property
    def datasums(self) -> frozenset[str]:
        """Sums of the data of its raw frames, without one that was left out of the stack."""
        left_out = self.header.get("ESO QC VET FRAME")
        raw = [key for key in numbered(self.header, "RAW") if self.header[f"{key} NAME"] != left_out]
        return frozenset(str(self.header.get(f"{key} DATASUM")) for key in raw) - {"None"}

    @property
    def bias(self) -> str | None:
        """MD5 of the data of the master bias that was subtracted; None without one."""
        record = recorded_bias(self.header)
        return None if record is None else record["DATAMD5"]

    @property
    def keys(self) -> dict[str, tuple[str, Any]]:
        """Keyword and value, by meaning, in which masters that are compared must agree; see ``RULES``."""
        header, instrument = self.header, self.instrument
        found = {
            "instrument": ("INSTRUME", instrument.name),
            "category": (PRODUCT_CATEGORY, f"{self.category}_{self.detector.arm}"),
            "size": ("NAXIS1 x NAXIS2", " x ".join(map(str, self.geometry.product_shape[::-1]))),
            "dit": ("ESO QC EXPOSURE", read_number(header.get("ESO QC EXPOSURE"), 0.0)),
            "conad": ("ESO QC CONAD", read_number(header.get("ESO QC CONAD"))),
        }
        for meaning in ("chip", "ndit", "binx", "biny"):
            keyword, value = instrument.find(header, meaning)
            found[meaning] = keyword, RULES[meaning].read(value)
        return found | {keyword: (keyword, header.get(keyword)) for keyword in setting_keywords(instrument)}

    def check_match(self, expected: Mapping[str, Any], other: str, remedy: str) -> None:
        """Compare detector, read-out and exposure.

        Parameters
        ----------
        expected : mapping of str to object
            Values by meaning, as in `keys`; None, or a meaning that is left out, agrees with all.
        other : str
            What they are the values of, for messages.
        remedy : str
            Advice for messages.

        Raises
        ------
        MixedFramesError
            With a line for each keyword that differs.
        """
        differences = self.differences(expected)
        if any(meaning in ("instrument", "category") for meaning in differences):  # they differ in all else
            differences = {key: found for key, found in differences.items() if key in ("instrument", "category")}
        if differences:
            raise MixedFramesError(
                f"{self.label}: {keyword} is {format_value(value)}, expected {format_value(wanted)} as in {other}: "
                f"{remedy}"
                for keyword, value, wanted in differences.values()
            )

    def differences(self, expected: Mapping[str, Any]) -> dict[str, tuple[str, Any, Any]]:
        """Return keyword, value and expected value of each meaning that differs; see `check_match`."""
        found = {}
        for meaning, (keyword, value) in self.keys.items():
            wanted, rule = expected.get(meaning), RULES.get(meaning)
            if value is None or wanted is None or value == wanted:
                continue
            if rule is None or rule.tolerance is None or abs(value - wanted) > rule.tolerance(wanted):
                found[meaning] = keyword, value, wanted
        return found


def load_master(path: str | os.PathLike[str], user_instrument: Instrument | None = None) -> LoadedMaster:
    """Read a master dark or master bias, and verify its check sums.

    Parameters
    ----------
    path : path-like
        The main product of ``soxspipe mdark`` or ``soxspipe mbias``.
    user_instrument : Instrument, optional
        The user's instrument; it takes precedence over the shipped ones.

    Returns
    -------
    LoadedMaster

    Raises
    ------
    FrameError
        When it is no such product, lacks a plane, or is damaged.
    """
    path = Path(path)
    planes = {image.extname: image for image in reversed(read_verified_images(path))}
    header = planes["FLUX"].header if "FLUX" in planes else fits.Header()
    kind = next((kind for kind in _KINDS if kind.matches(header)), None)
    missing = [name for name in PLANES if name not in planes]
    if kind is None or missing:
        found = format_value(header[PRODUCT_CATEGORY]) if PRODUCT_CATEGORY in header else "missing"
        wrong = f"has no extension {missing[0]}" if kind else f"{PRODUCT_CATEGORY} is {found}"
        known = " or ".join(f"'{kind.category}_<ARM>'" for kind in _KINDS)
        raise FrameError(
            f"{escape(path)}: {wrong}, expected the main product of mdark or mbias ({PRODUCT_CATEGORY} {known}, planes "
            f"{', '.join(PLANES)})"
        )
    instrument, detector = detector_of(header, kind, escape(path.name), user_instrument)
    binning = tuple(RULES[name].read(instrument.find(header, name)[1]) or 1 for name in ("biny", "binx"))
    geometry = detector.geometry_of_product(planes["FLUX"].shape, (binning[0], binning[1]), escape(path.name))
    images = tuple(planes[name] for name in PLANES)
    for image in images:
        if image.shape != planes["FLUX"].shape:
            raise FrameError(f"{escape(path)}: {image} has another size than {planes['FLUX']}: make the master again")
    arrays = dict(zip(PLANES, map(geometry.from_product, read_images(images)), strict=True))
    usable = require_usable(arrays["FLUX"], arrays["ERRS"], escape(path))
    arrays["FLUX"] = np.where(usable, arrays["FLUX"], np.nan)
    arrays["QUAL"] = np.where(usable, _whole(arrays["QUAL"]), PixelCode.NO_DATA.value)
    master = _master_images(arrays, header, instrument, detector, geometry)
    return LoadedMaster(
        path, header, kind.category, instrument, detector, geometry, replace(master, name=escape(path.name))
    )


def _master_images(
    arrays: Mapping[str, NDArray[Any]],
    header: fits.Header,
    instrument: Instrument,
    detector: Detector,
    geometry: Geometry,
) -> MasterImages:
    """Return the images with what the header says about them."""

    def number(keyword: str, default: float | None = None) -> float | None:
        value = read_number(header.get(f"ESO QC {keyword}"), -1e12, 1e12)
        return default if value is None else value

    is_bias = MASTER_BIAS.matches(header)
    read_noise = [number(f"RON RAW{i}", number("RON RAW")) for i in range(1, len(geometry.regions) + 1)]
    ndit = RULES["ndit"].read(instrument.find(header, "ndit")[1]) or 1
    return MasterImages(
        values_e=np.asarray(arrays["FLUX"], np.float32),
        errors_e=np.asarray(arrays["ERRS"], np.float32),
        noise_e=np.asarray(arrays["NOISE"], np.float32),
        count=_whole(arrays["NCOMBINE"]),
        codes=_whole(arrays["QUAL"]),
        n_frames=int(read_number(header.get("ESO PRO DATANCOM"), 1) or 1),
        exposure_s=0.0 if is_bias else number("EXPOSURE") or 0.0,
        regions=geometry.regions,
        read_noise_e=() if None in read_noise else tuple(float(value or math.nan) for value in read_noise),
        correlation=number("RON CORR", 1.0) or 1.0,
        row_correlation=number("RON CORR ROW", 1.0) or 1.0,
        bias_error_e=number("BIAS NOISE", 0.0) or 0.0,
        shot_scale=0.0 if is_bias else 1.0 / ndit,
        column_parity=detector.column_parity,
        level_e=None if str(header.get("ESO QC LEVEL TYPE")).startswith("pedestal") else number("LEVEL"),
        temperature_k=number("DETECTOR TEMP"),
        rot90_count=geometry.rot90_count,
    )


def _whole(image: NDArray[Any]) -> NDArray[np.int32]:
    """Return whole numbers; 0 where a damaged file has none."""
    if image.dtype.kind == "f":
        image = np.where(np.abs(image) < 2**31, image, 0)  # not where NaN
    return image.astype(np.int32)
