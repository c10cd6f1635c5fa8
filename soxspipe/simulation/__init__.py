"""Seeded detectors and raw frames, with their truth."""

from .parameters import KINDS, DarkSimulation
from .simulate import SimulatedDarks, SimulatedDetector, simulate_darks

__all__ = ["KINDS", "DarkSimulation", "SimulatedDarks", "SimulatedDetector", "simulate_darks"]
