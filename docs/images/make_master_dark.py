"""Draw a master dark and its bad-pixel map: the picture of the README.

Usage: python docs/images/make_master_dark.py MASTER_DARK.fits PICTURE.png
"""

import sys

import numpy as np
from astropy.io import fits
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

HOT, COLD, NOISY = 256, 512, 1024
CORNER = 160
KINDS = (("hot", HOT, "#d62728"), ("cold", COLD, "#1f77b4"), ("noisy", NOISY, "#e6a817"))


def main(master: str, picture: str) -> None:
    """Draw the whole, a corner of it, and what is bad there."""
    with fits.open(master) as hdus:
        flux, codes = hdus["FLUX"].data, hdus["QUAL"].data
        exptime = hdus["FLUX"].header["EXPTIME"]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    whole, part, bad = figure.subplots(1, 3)

    corner = flux[:CORNER, :CORNER]
    for axes, shown, title in ((whole, flux, "master dark"), (part, corner, f"its corner, {CORNER} x {CORNER} pixels")):
        low, high = np.nanpercentile(shown, (0.3, 99.3))
        image = axes.imshow(shown, origin="lower", cmap="inferno", vmin=low, vmax=high, interpolation="antialiased")
        figure.colorbar(image, ax=axes, shrink=0.8, label=f"electron in {exptime:g} s")
        axes.set_title(title)

    kinds = np.zeros((CORNER, CORNER), int)
    for value, (name, code, colour) in enumerate(KINDS, 1):
        kinds[codes[:CORNER, :CORNER] & code > 0] = value
        bad.plot([], [], "s", color=colour, label=f"{name}: {np.count_nonzero(codes & code)} in all")
    colours = ListedColormap(["white"] + [colour for _, _, colour in KINDS])
    bad.imshow(kinds, origin="lower", cmap=colours, vmin=0, vmax=3, interpolation="nearest")
    bad.legend(loc="upper right", framealpha=1, fontsize="small")
    bad.set_title("bad-pixel map of the corner")
    for axes in (whole, part, bad):
        axes.set_xlabel("column")
        axes.set_ylabel("row")
    figure.savefig(picture, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
