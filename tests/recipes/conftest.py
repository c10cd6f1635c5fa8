import numpy as np
import pytest
from astropy.io import fits

from soxspipe.simulation import DarkSimulation, simulate_darks


@pytest.fixture
def simulated(tmp_path):
    """Make small simulated darks: the set of files, and the truth trimmed as the product is."""

    def make(folder="raw", **parameters):
        simulation = DarkSimulation(**{"shape": (128, 200), "frames": 5, **parameters})
        made = simulate_darks(tmp_path / folder, simulation)
        geometry = simulation.detector.geometry(simulation.shape, simulation.binning, "simulation")
        window = geometry.science
        with fits.open(made.truth) as hdus:
            truth = {
                hdu.name: geometry.to_product(hdu.data[window.y0 : window.y1, window.x0 : window.x1])
                for hdu in hdus
                if isinstance(hdu, fits.ImageHDU)
            }
            truth["LEVEL"] = float(np.mean(hdus["LEVELS"].data["LEVEL"]))
        return made, truth

    return make
