"""Pixel codes: one bit for each fault of a pixel, as the planes QUAL and BPMAP hold them.

The bits up to 4096 are those of the Euro3D convention, as MUSE uses them.
"""

from __future__ import annotations

from enum import IntFlag

__all__ = ["PixelCode"]


class PixelCode(IntFlag):
    """Faults of a pixel; codes add up, 0 is a good pixel."""

    # create_noise_map holds its codes in 16 bits: HOT, COLD, NOISY and COLUMN must fit
    AMBIGUOUS = 1 << 5, "ambiguous", "its samples disagree without a majority"
    STATIC = 1 << 7, "static", "bad in the static bad-pixel map"
    HOT = 1 << 8, "hot", "above its surroundings"
    COLD = 1 << 9, "cold", "below its surroundings, or dead"
    NOISY = 1 << 10, "noisy", "scatters more than the noise model allows"
    COLUMN = 1 << 11, "bad column", "in a column or part of it that stands out"
    SATURATED = 1 << 12, "saturated", "saturated in at least half of the frames"
    # 1 << 13 is Euro3D's "permanent camera defect"; JWST has non-linear pixels in this bit
    NONLINEAR = 1 << 16, "non-linear", "does not grow linearly with the exposure"
    NO_DATA = 1 << 30, "no data", "no sample was left"

    label: str
    description: str

    def __new__(cls, value: int, label: str = "", description: str = "") -> PixelCode:
        """Make a member with its label and description."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.label, member.description = label, description
        return member
