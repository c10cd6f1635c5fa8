"""The statistics of stacks of frames: arrays, units and numbers; no path, no header, no settings file.

`clip_and_stack` and `create_noise_map` can be called on their own, on CCDData or on arrays. ``noise_model`` measures
the level, read noise and offset of each frame. ``readout_levels`` removes levels of the electronics from raw frames,
``amplifier_levels`` steps between the amplifiers of an image, before its bad pixels are found.
"""

from .background import Background, measure_background
from .clip_and_stack import StackResult, clip_and_stack
from .create_noise_map import NoiseMap, create_noise_map
from .fit_dark_rate import DarkRate, fit_dark_rate
from .fit_levels import LevelFit, fit_levels
from .frame_monitor import FrameFigures
from .frame_stack import ArrayStack, FrameStack, Regions
from .frame_verdicts import FrameVerdict, FrameVetting
from .master_stack import ArrayMasters, MasterStack
from .noise_model import NoiseModel, measure_noise
from .vet_frames import vet_frames

__all__ = [
    "ArrayMasters",
    "ArrayStack",
    "Background",
    "DarkRate",
    "FrameFigures",
    "FrameStack",
    "FrameVerdict",
    "FrameVetting",
    "LevelFit",
    "MasterStack",
    "NoiseMap",
    "NoiseModel",
    "Regions",
    "StackResult",
    "clip_and_stack",
    "create_noise_map",
    "fit_dark_rate",
    "fit_levels",
    "measure_background",
    "measure_noise",
    "vet_frames",
]
