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
KINDS = (("hot", HOT, "#d62728"), ("cold", COLD, "#1f77b4"), ("noisy", NOISY, "#e6a817"))


def main(master: str, picture: str) -> None:
    """Draw the two panels side by side."""
    with fits.open(master) as hdus:
        flux, codes = hdus["FLUX"].data, hdus["QUAL"].data
        exptime = hdus["FLUX"].header["EXPTIME"]
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)

    low, high = np.nanpercentile(flux, (0.5, 99.0))
    image = left.imshow(flux, origin="lower", cmap="inferno", vmin=low, vmax=high, interpolation="antialiased")
    figure.colorbar(image, ax=left, shrink=0.85, label=f"electron in {exptime:g} s")
    left.set_title("master dark")

    # one pixel of two thousand is smaller than a dot of the picture: show the worst of each 4 x 4
    ny, nx = (side // 4 * 4 for side in codes.shape)
    worst = np.zeros((ny // 4, nx // 4), int)
    for value, (_, code, _) in enumerate(KINDS, 1):
        blocks = ((codes[:ny, :nx] & code) > 0).reshape(ny // 4, 4, nx // 4, 4).any(axis=(1, 3))
        worst[blocks] = value
    right.imshow(
        worst, origin="lower", cmap=ListedColormap(["white"] + [colour for _, _, colour in KINDS]), vmin=0, vmax=3,
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5), interpolation="nearest",
    )  # fmt: skip
    for name, code, colour in KINDS:
        count = np.count_nonzero(codes & code)
        right.plot([], [], "s", color=colour, label=f"{count} {name}")
    right.legend(loc="upper right", framealpha=1)
    right.set_title("bad-pixel map")
    for axes in (left, right):
        axes.set_xlabel("column")
        axes.set_ylabel("row")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
