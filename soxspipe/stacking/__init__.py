"""The statistics of stacks: arrays, units and numbers; no path, no header, no settings file.

`clip_and_stack` and `create_noise_map` can be called on their own, on CCDData or on arrays.
"""

from .background import Background, measure_background
from .clip_and_stack import StackResult, clip_and_stack
from .create_noise_map import NoiseMap, create_noise_map
from .fit_dark_rate import DarkRate, fit_dark_rate
from .frame_stack import ArrayStack, FrameStack, Regions
from .noise_model import NoiseModel, measure_noise

__all__ = [
    "ArrayStack",
    "Background",
    "DarkRate",
    "FrameStack",
    "NoiseMap",
    "NoiseModel",
    "Regions",
    "StackResult",
    "clip_and_stack",
    "create_noise_map",
    "fit_dark_rate",
    "measure_background",
    "measure_noise",
]
