from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import FrameError
from soxspipe.fits_files.images import read_image_hdus
from soxspipe.fits_files.pixel_reader import PixelReader
from soxspipe.inputs.prepare import PreparedFrames
from soxspipe.inputs.raw_frames import collect_frames
from soxspipe.inputs.sample_checks import check_samples, full_scale_adu
from soxspipe.instruments.detectors import Window
from soxspipe.recipes import soxs_mdark

SHAPE = (96, 128)
WHOLE = Window(0, 96, 0, 128)


def noise(seed, level=1000.0, width=5.0):
    return np.random.default_rng(seed).normal(level, width, SHAPE)


def counts(seed, level=1000.0, width=5.0, kind=np.uint16):
    return np.round(noise(seed, level, width)).astype(kind)


@pytest.fixture
def checks(tmp_path):
    """Return a function that checks the samples of images, or of files that exist."""

    def check(*images, window=WHOLE, **options):
        names = [f"{number}.fits" for number in range(len(images))]
        for name, image in zip(names, images, strict=True):
            hdu = image if isinstance(image, fits.PrimaryHDU) else fits.PrimaryHDU(image)
            hdu.writeto(tmp_path / name, overwrite=True)
        with PixelReader([read_image_hdus(tmp_path / name)[0] for name in names]) as reader:
            return check_samples(reader, names, window, **options)

    return check


def with_card(image, keyword, value):
    """Return an image whose header alone is changed."""
    hdu = fits.PrimaryHDU(image)
    hdu.header[keyword] = value
    return hdu


def columns(seed, width):
    return np.random.default_rng(seed).normal(0, width, (1, SHAPE[1]))


SLOPE = np.linspace(0, 300, SHAPE[0])[:, None]
HOT = np.where(np.random.default_rng(7).random(SHAPE) < 0.02, 3000, 0)
GOOD = {
    "little noise with hot pixels": [np.round(noise(seed, 1000.2, 0.3) + HOT) for seed in range(5)],
    "hardly any noise": [np.round(noise(seed, 1000.2, 0.16 + 0.16 * (seed % 4 == 1)) + HOT) for seed in range(9)],
    "counts": [counts(seed) for seed in range(5)],
    "two frames": [counts(seed) for seed in range(2)],
    "little noise": [counts(seed, width=0.25) for seed in range(5)],
    "less than half a count of noise": [counts(seed, width=0.4) for seed in range(5)],
    "a fixed pattern of ten times the noise": [np.round(noise(9, width=50) + noise(seed, 0)) for seed in range(4)],
    "one frame with a gradient": [counts(1), counts(2), np.round(noise(3) + SLOPE).astype(np.uint16)],
    "one frame with three times the noise": [counts(1), counts(2), counts(3), counts(4, width=15)],
    "differences of two reads": [noise(seed, -3).astype(np.float32) for seed in range(3)],
    "signed counts above zero": [counts(seed, kind=np.int16) for seed in range(3)],
    "a column pattern": [np.round(noise(seed) + columns(9, 20)).astype(np.int32) for seed in range(3)],
    "no data in places": [np.where(columns(9, 1) > 1, np.nan, noise(seed)).astype(np.float32) for seed in range(3)],
}


@pytest.mark.parametrize("images", GOOD.values(), ids=GOOD)
def test_good_frames_are_silent(checks, images):
    assert checks(*images).warnings == ()


@pytest.mark.parametrize(
    ("image", "step"),
    [
        (counts(1), 1.0),
        (counts(1).astype(np.float32), 1.0),
        (noise(1).astype(np.float32), 0.0),
        (noise(1), 0.0),
    ],
)
def test_the_step_is_measured_in_floats_and_the_smallest_of_the_set_counts(checks, image, step):
    assert checks(counts(2), image, counts(3)).step_adu == step


def test_the_step_of_12_bits_written_as_16(checks):
    assert checks(*[16 * counts(seed) for seed in range(3)]).step_adu == 16
    assert checks(16 * counts(1), counts(2), counts(3)).step_adu == 1
    # two levels alone do not make a step
    few = [np.where(np.random.default_rng(seed).random(SHAPE) < 0.3, 1000, 1032).astype(np.uint16) for seed in range(3)]
    assert checks(*few).step_adu == 1


def test_samples_from_0_to_1_need_a_scale(checks):
    fractions = [(counts(seed) / 65535).astype(np.float32) for seed in range(3)]
    with pytest.raises(FrameError, match=r"0.fits: its samples are 0.01\d+ to 0.01\d+, expected ADU: give 'scale'"):
        checks(*fractions)
    assert checks(*fractions, unit="ADU/s").step_adu == 0
    with pytest.raises(FrameError, match="expected 0 to 1, as the instrument table has scale 65535"):
        checks(*[image * 2 * 65535 * 65 for image in fractions], scale_adu=65535.0)


def test_the_step_of_scaled_integers(checks):
    assert checks(*[with_card(counts(seed, kind=np.int16), "BSCALE", 0.5) for seed in range(3)]).step_adu == 0.5


def test_the_full_scale_is_that_of_the_samples(tmp_path):
    for data, card, expected in (
        (np.zeros((2, 2), np.uint16), None, 65535),
        (np.zeros((2, 2), np.int16), None, 32767),
        (np.zeros((2, 2), np.int16), 0.5, 16383.5),
        (np.zeros((2, 2), np.uint8), None, 255),
        (np.zeros((2, 2), np.int32), None, np.inf),
        (np.zeros((2, 2), np.float32), None, np.inf),
    ):
        hdu = fits.PrimaryHDU(data)
        if card:
            hdu.header["BSCALE"] = card
        hdu.writeto(tmp_path / "a.fits", overwrite=True)
        assert full_scale_adu(read_image_hdus(tmp_path / "a.fits")[0]) == expected


def test_mixed_sample_types_are_named(checks):
    assert checks(counts(1), counts(2).astype(np.float32), counts(3)).warnings == (
        "mixed sample types: 1.fits (BITPIX -32, BSCALE 1, BZERO 0), expected BITPIX 16, BSCALE 1, BZERO 32768 as in 2 "
        "of 3 frames: check them",
    )


@pytest.mark.parametrize("odd", [0, 1, 2, 3, 4])
def test_saturation_is_that_of_each_frame_in_any_order(make_frame, odd):
    paths = []
    for number in range(5):
        data = np.random.default_rng(number).integers(900, 1100, (40, 48)).astype(np.uint16)
        data[10:15, 10:20] = 65535
        paths.append(make_frame(f"{number}.fits", data=data.astype(np.float32) if number == odd else data))
    with PreparedFrames(collect_frames(paths, soxs_mdark.kind)) as prepared:
        out = np.empty(prepared.shape, np.float32)
        masks = [prepared.read(frame, 0, prepared.shape[0], out) for frame in range(5)]
    assert [mask.sum() for mask in masks] == [50] * 5
    assert prepared.step_e == 2.3
    assert prepared.warnings[0].startswith(f"mixed sample types: {odd}.fits (BITPIX -32")


@pytest.mark.parametrize("lost", [[1], [0, 1, 2]])
def test_a_frame_without_its_bzero_is_refused(checks, lost):
    images = [counts(number) for number in range(3)]
    for number in lost:
        images[number] = (images[number].astype(int) - 32768).astype(np.int16)
    with pytest.raises(FrameError) as caught:
        checks(*images)
    assert [fault[:22] for fault in caught.value.faults] == [f"{number}.fits: its level is -" for number in lost]
    assert all("BZERO is missing" in fault for fault in caught.value.faults)


def test_a_negative_bscale_is_refused(checks):
    for value in (-1.0, 0.0):
        with pytest.raises(FrameError, match=rf"BSCALE is '{value}', expected a number above zero"):
            checks(with_card(counts(1, kind=np.int16), "BSCALE", value))


def test_negative_levels_and_samples_that_wrapped_are_named(checks):
    wrapped = counts(1, kind=np.int16)
    wrapped[50, 60:63] = np.array([40000, 65535, 33000]).astype(np.uint16).view(np.int16)
    negative = counts(2, -3000, kind=np.int16)
    assert checks(wrapped, counts(3, kind=np.int16), negative).warnings == (
        "negative samples: 0.fits (3 samples, down to -32536 ADU, at a level of 1000), 2.fits (its level is -3000 ADU)"
        ": check BZERO, and whether high values wrapped around",
    )


def test_samples_that_wrapped_are_found_in_rows_that_are_not_sampled(tmp_path):
    data = np.random.default_rng(1).normal(1000, 5, (1024, 1024)).round().astype(np.int16)
    data[:] = np.where(np.arange(1024)[:, None] == 517, -2, data)
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    with PixelReader(read_image_hdus(tmp_path / "a.fits")) as reader:
        found = check_samples(reader, ["a.fits"], Window(0, 1024, 0, 1024)).warnings
    assert "a.fits (1024 samples, down to -2 ADU, at a level of 1000)" in found[0]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_the_share_of_clipped_samples_is_stated(checks, kind):
    low, high = np.clip(counts(1, 100, kind=int), 98, None), np.clip(counts(2, 4090, kind=int), None, 4095)
    shares = [100 * np.mean(low == 98), 100 * np.mean(high == 4095)]
    assert checks(low.astype(kind), counts(3).astype(kind), high.astype(kind)).warnings == (
        f"samples at the lowest or highest value: 0.fits ({shares[0]:.2g} % at the lowest, 98 ADU), 2.fits "
        f"({shares[1]:.2g} % at the highest, 4095 ADU): check offset and saturation of the camera",
    )


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_most_samples_may_be_clipped(checks, kind):
    values = np.clip(noise(1, -7) if kind == np.float32 else counts(1, -7, kind=int), 0, None).astype(kind)
    assert f"0.fits ({100 * np.mean(values == 0):.2g} % at the lowest, 0 ADU)" in checks(values).warnings[0]


def test_few_samples_at_the_lowest_value_are_no_clip(checks):
    image = counts(1, kind=int)
    image.ravel()[::200] = 0
    assert checks(image.astype(np.uint16)).warnings == ()


def test_clipped_reference_columns_do_not_count(checks):
    image = counts(1)
    image[:, :8] = 0
    assert checks(image, window=Window(0, 96, 8, 128)).warnings == ()


@pytest.mark.parametrize("part", [np.s_[:12], np.s_[:, 112:]])
def test_a_constant_part_is_named_with_its_share(checks, part):
    images = [counts(seed) for seed in range(3)]
    for image in images:
        image[part] = 1000
    share = "12 %" if part == np.s_[:12] else "13 %"
    assert checks(*images).warnings == (
        f"a part of the frame is constant: 0.fits ({share}), 1.fits ({share}), 2.fits ({share}): check the read-out "
        "and the file",
    )


@pytest.mark.parametrize("part", [np.s_[:48], np.s_[:, 64:]])
def test_a_frame_that_is_constant_in_its_half_is_refused(checks, part):
    images = [counts(seed) for seed in range(3)]
    images[1][part] = 1000
    with pytest.raises(FrameError, match=r"^1\.fits: 50 % of the frame is constant, expected noise in every pixel"):
        checks(*images)


@pytest.mark.parametrize("others", [1, 4])
@pytest.mark.parametrize("how", ["plus", "times", "times in float", "both"])
def test_a_copy_plus_a_constant_or_times_a_factor_is_refused(checks, how, others):
    image = counts(0)
    copy = {
        "plus": image + np.uint16(7),
        "times": np.round(image * 1.0005).astype(np.uint16),
        "times in float": (image * (1 + 1e-5)).astype(np.float32),
        "both": np.round(image * 1.01 + 30).astype(np.uint16),
    }[how]
    with pytest.raises(FrameError) as caught:
        checks(image, *[counts(seed) for seed in range(1, others + 1)], copy)
    assert caught.value.faults == (
        f"0.fits and {others + 1}.fits hold the same pixels but for a constant or a factor: leave one of them out",
    )


def test_frames_that_all_are_one_plus_a_constant_are_refused(checks):
    with pytest.raises(FrameError) as caught:
        checks(*[counts(0) + np.uint16(number) for number in range(3)])
    assert len(caught.value.faults) == 3
