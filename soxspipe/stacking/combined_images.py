"""Images of a stack while its bands are combined, and the samples that their pixels lose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .averages import combine_kept, count_agreeing, outlier_free_noise
from .noise_model import NoiseModel

__all__ = ["NO_SAMPLES", "CombinedImages", "as_list", "as_mask"]

#: Frames from which several cosmic rays of like charge hit a pixel by chance.
MANY_FRAMES = 50
#: A list of samples, by frame and pixel (index into the flattened image), without any.
NO_SAMPLES = np.empty((0, 2), np.int32)

_IMAGES = {
    "above_level": np.float32, "noise": np.float32, "outlier_free_noise": np.float32, "count": np.uint16,
    "ambiguous": np.bool_, "saturated": np.bool_, "constant": np.bool_,
}  # fmt: skip


class CombinedImages:
    """The images of a stack by name, and the noise model of its samples.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    n_frames : int
        Frames.
    model : NoiseModel
        Level and noise of the frames.
    """

    def __init__(self, shape: tuple[int, int], n_frames: int, model: NoiseModel) -> None:
        self.shape, self.n_frames, self.model = shape, n_frames, model
        self.by_name: dict[str, NDArray[Any]] = {name: np.zeros(shape, dtype) for name, dtype in _IMAGES.items()}
        #: Pixels with rejected samples that agree, the number of these, and the noise without them.
        self._second_levels: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]] = []

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an image."""
        return self.by_name[name]

    def flat(self, name: str) -> NDArray[Any]:
        """Return an image as a line of pixels."""
        return self.by_name[name].reshape(-1)

    def read_noise_at(self, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the read noise of a sample in some pixels."""
        y, x = np.divmod(pixels, self.shape[1])
        first_rows = np.array([first for first, _ in self.model.spans()])
        rows = np.stack([self.model.row(self.model.read_noise_e, first) for first in first_rows])
        read_noise: NDArray[np.float32] = rows[np.searchsorted(first_rows, y, side="right") - 1, x]
        return read_noise

    def replace(
        self,
        samples: NDArray[np.float32],
        pixels: NDArray[np.intp],
        rejected: NDArray[np.bool_],
        clipped: NDArray[np.bool_],
        read_noise: NDArray[np.float32],
    ) -> None:
        """Replace the values of pixels by those without the rejected samples.

        Several samples that the clip along the stack rejected may be a second level of the pixel; others never are.
        """
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN in pixels with too few samples
            mean, std, count = combine_kept(samples, rejected)
            agreeing = count_agreeing(samples, clipped, read_noise, self.model.shot_scale)
            second = np.flatnonzero(agreeing > 1)
            noise = outlier_free_noise(samples, rejected & ~(clipped & (agreeing > 1)))
            if second.size and self.n_frames >= MANY_FRAMES:
                without = outlier_free_noise(samples[:, second], rejected[:, second])
                self._second_levels.append((pixels[second], agreeing[second], without))
            values = {
                "above_level": mean,
                "noise": np.where(count > 1, std * np.sqrt(count / (count - np.float32(1))), np.nan),
                "outlier_free_noise": noise,
                "count": count,
            }
        for name, value in values.items():
            self.flat(name)[pixels] = value

    def reject(
        self,
        samples: NDArray[np.float32],
        pixels: NDArray[np.intp],
        more: NDArray[np.bool_],
        clipped: NDArray[np.bool_],
        others: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """Reject more samples of pixels, unless none would be left, and return them.

        Parameters
        ----------
        samples : ndarray of float32, shape (frames, pixels), electron
            Samples of the pixels.
        pixels : ndarray of int, shape (pixels,)
            Indices into the flattened image.
        more, clipped, others : ndarray of bool, shape (frames, pixels)
            Samples to reject; those that the clip along the stack rejected before, and those that were rejected since.
        """
        rejected = clipped | ~np.isfinite(samples)
        if others is not None:
            rejected |= others
        more = more & ~rejected
        changed = more.any(axis=0) & ~(rejected | more).all(axis=0)
        if not changed.any():
            return NO_SAMPLES
        pixels, more = pixels[changed], more[:, changed]
        rejected = rejected[:, changed] | more
        self.replace(samples[:, changed], pixels, rejected, clipped[:, changed], self.read_noise_at(pixels))
        return as_list(more, pixels)

    def forget_chance_levels(self, clipped: NDArray[np.int32]) -> None:
        """Forget second levels of as many samples as cosmic rays that hit a pixel by chance."""
        from scipy.special import pdtrc

        size = self["count"].size
        hits = -np.log(max(1.0 - np.unique(clipped[:, 1]).size / size, 1.0 / size))
        number = np.arange(2, self.n_frames + 1)
        needed = number[np.argmax(size * pdtrc(number - 1, hits) < 1)]  # Poisson
        for pixels, agreeing, without in self._second_levels:
            chance = agreeing < needed
            self.flat("outlier_free_noise")[pixels[chance]] = without[chance]


def as_list(mask: NDArray[np.bool_], pixels: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return frame and pixel of the marked samples, for a mask of shape (frames, pixels)."""
    place, frame = np.nonzero(mask.T)
    return np.stack([frame, pixels[place]], axis=1).astype(np.int32)


def as_mask(listed: NDArray[np.integer], pixels: NDArray[np.intp], n_frames: int) -> NDArray[np.bool_]:
    """Mark listed samples in a mask of shape (frames, pixels) for sorted pixels."""
    mask = np.zeros((n_frames, len(pixels)), bool)
    if len(pixels):
        place = np.minimum(np.searchsorted(pixels, listed[:, 1]), len(pixels) - 1)
        known = pixels[place] == listed[:, 1]
        mask[listed[known, 0], place[known]] = True
    return mask
