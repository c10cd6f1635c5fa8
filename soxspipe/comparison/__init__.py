"""Masters compared: with raw frames, with each other, and pixel by pixel from night to night."""

from .compare_masters import MasterComparison, compare_masters
from .master_images import MasterImages
from .parameters import ChangeParameters, VerifyParameters
from .pixel_changes import PixelChange, PixelChanges, TelegraphPixel, pixel_changes, telegraph_pixels
from .verdicts import Check, Verification, VerifiedFrame
from .verify_frames import FrameToVerify, verify_frames

__all__ = [
    "ChangeParameters",
    "Check",
    "FrameToVerify",
    "MasterComparison",
    "MasterImages",
    "PixelChange",
    "PixelChanges",
    "TelegraphPixel",
    "Verification",
    "VerifiedFrame",
    "VerifyParameters",
    "compare_masters",
    "pixel_changes",
    "telegraph_pixels",
    "verify_frames",
]
