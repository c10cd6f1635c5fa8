"""Simulated detectors and raw frames with seeds, and their truth."""

from .detector import SimulatedDetector
from .headers import frame_header
from .parameters import KINDS, DarkSimulation
from .simulate import SimulatedDarks, simulate_darks

__all__ = ["KINDS", "DarkSimulation", "SimulatedDarks", "SimulatedDetector", "frame_header", "simulate_darks"]
