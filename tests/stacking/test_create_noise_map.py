import numpy as np
import pytest

from soxspipe.exceptions import InputError
from soxspipe.pixel_codes import PixelCode
from soxspipe.stacking import clip_and_stack, create_noise_map, measure_background
from soxspipe.stacking.parameters import NoiseMapParameters

SHAPE = (512, 512)
AMPLIFIERS = tuple((slice(0, 512), slice(x, x + 64)) for x in range(0, 512, 64))


def detector_pattern(seed=0):
    """Channels, odd and even columns, and glow that rises towards a corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    channels = np.repeat(rng.normal(0, 15, 8), 64)[None, :]
    parity = np.where(np.arange(512) % 2, 2.0, -2.0)[None, :]
    glow = 120 * np.exp(-np.hypot(x, y) / 80)
    return channels + parity, glow


def stack_of(n_frames=5, excess=None, glow=True, telegraph=None, seed=1, rows=2.0):
    rng = np.random.default_rng(seed)
    pattern, light = detector_pattern()
    light = (light if glow else 0) + (0 if excess is None else excess)
    frames = []
    for _ in range(n_frames):
        frame = pattern + rng.poisson(np.maximum(light, 0)) + rng.normal(0, 12, SHAPE) + np.minimum(light, 0)
        frame += rng.normal(0, rows, (SHAPE[0], 1))
        if telegraph is not None:
            frame += np.where(rng.random(SHAPE) < 0.4, telegraph, 0)
        frames.append(frame.astype(np.float32))
    return clip_and_stack(frames, regions=AMPLIFIERS, column_parity=True, unit="electron")


def test_background_follows_channels_parity_and_glow():
    pattern, glow = detector_pattern()
    noise = np.random.default_rng(2).normal(0, 4, SHAPE)
    background = measure_background((pattern + glow + noise).astype(np.float32), AMPLIFIERS, column_parity=True)
    residual = background.total_e - pattern - glow
    assert abs(residual.mean()) < 0.1
    assert residual.std() < 1.0  # a quarter of the noise of a pixel
    assert abs(residual[:60, :60]).max() < 6  # also where the glow is steepest


def test_parts_of_the_background_are_those_of_the_whole():
    pattern, glow = detector_pattern()
    noise = np.random.default_rng(5).normal(0, 4, SHAPE)
    # amplifiers one above the other: each span of rows has steps of its own
    regions = tuple((rows, slice(0, SHAPE[1])) for rows in (slice(0, 200), slice(200, SHAPE[0])))
    image = (pattern + glow + noise).astype(np.float32)
    image[200:] += 300.0
    background = measure_background(image, regions, column_parity=True)
    total, pixels = background.total_e, np.arange(0, image.size, 7)
    assert np.median(total[205:, 5]) - np.median(total[:195, 5]) > 200  # the step is in it
    for rows in (slice(0, 64), slice(190, 210), slice(500, None), slice(-5, None), slice(None, 300, 7)):
        np.testing.assert_array_equal(background.rows(rows), total[rows])
    np.testing.assert_array_equal(background.at(pixels), total.ravel()[pixels])
    above = background.above(np.full_like(background.columns_e, 1000.0))
    np.testing.assert_allclose(above.total_e, total + 1000, rtol=1e-6)
    assert above.surface is background.surface


def test_no_false_codes_in_glow_and_structure():
    result = create_noise_map(stack_of())
    assert result.residual_width == pytest.approx(1, abs=0.03)
    assert np.count_nonzero(result.codes) <= 2


def test_steep_glow_at_the_edge_is_no_defect():
    glow = np.broadcast_to(3000 * np.exp(-np.arange(512) / 60), (512, 512))
    error = np.sqrt((25 + glow) / 10).astype(np.float32)  # of ten frames
    image = glow + error * np.random.default_rng(1).normal(0, 1, glow.shape)
    codes = create_noise_map(image.astype(np.float32), error=error, unit="electron").codes
    assert np.count_nonzero(codes) <= 20  # 22620 where its curvature counts as a defect


def test_injected_hot_and_cold_pixels_are_found():
    rng = np.random.default_rng(3)
    excess = np.zeros(SHAPE)
    ys, xs = rng.integers(0, 512, (2, 2000))
    amplitude = rng.uniform(2, 40, 2000) * 12 / np.sqrt(5)
    excess[ys, xs] = amplitude
    cold = rng.integers(0, 512, (2, 50))
    excess[tuple(cold)] = -150
    stack = stack_of(excess=excess)
    codes = create_noise_map(stack).codes
    sigmas = excess / stack.master.uncertainty.array
    for low, completeness in ((12, 1.0), (8, 0.98)):
        assert ((codes[sigmas > low] & PixelCode.HOT.value) > 0).mean() >= completeness
    assert (codes[tuple(cold)] & PixelCode.COLD.value).all()
    assert np.count_nonzero(codes[(excess == 0)]) <= 2


def test_bad_columns_rows_and_blocks_are_found():
    excess = np.zeros(SHAPE)
    excess[:, 300] = excess[200] = 8 * 12 / np.sqrt(5)
    for side in range(2, 10):
        excess[30 + 50 * (side - 2) :, 100:][:side, :side] = 8 * 12 / np.sqrt(5)
    codes = create_noise_map(stack_of(excess=excess)).codes
    assert (codes[:, 300] & PixelCode.HOT.value > 0).mean() > 0.9
    assert (codes[200] & PixelCode.HOT.value > 0).mean() > 0.9
    for side in range(2, 10):
        block = codes[30 + 50 * (side - 2) :, 100:][:side, :side] & PixelCode.HOT.value > 0
        assert block.mean() > 0.85
    assert np.count_nonzero(codes[excess == 0]) <= 2


def test_telegraph_pixels_are_noisy_and_cosmic_rays_are_not():
    rng = np.random.default_rng(4)
    telegraph = np.where(rng.random(SHAPE) < 2e-3, 150.0, 0)
    result = create_noise_map(stack_of(n_frames=10, telegraph=telegraph, glow=False))
    noisy = result.codes & PixelCode.NOISY.value > 0
    assert result.noisy_tested
    assert noisy[telegraph > 0].mean() > 0.9
    assert noisy[telegraph == 0].sum() <= 8  # 30 per million


def test_noisy_pixels_are_not_searched_in_too_few_frames():
    result = create_noise_map(stack_of(n_frames=4))
    assert not result.noisy_tested
    assert result.count(PixelCode.NOISY.value) == 0


def test_plain_arrays():
    rng = np.random.default_rng(5)
    image = rng.normal(100, 2, (128, 128))
    image[40, 50] += 30
    result = create_noise_map(image, unit="electron", error=np.full(image.shape, 2.0, np.float32))
    assert result.codes[40, 50] == PixelCode.HOT.value
    assert result.count(PixelCode.HOT.value) == 1
    with pytest.raises(InputError, match="no error plane"):
        create_noise_map(image, unit="electron")
    with pytest.raises(InputError, match="the image has no unit, expected electron"):
        create_noise_map(image, error=np.ones_like(image))


def test_a_stack_and_its_images_give_the_same_map():
    stack = stack_of(n_frames=5)
    names = ("background_limited_error", "common_error", "count", "outlier_free_noise", "n_frames", "background")
    images = {name: getattr(stack, name) for name in names}
    whole, alone = create_noise_map(stack), create_noise_map(stack.master, **images)
    np.testing.assert_array_equal(alone.codes, whole.codes)
    assert (alone.residual_width, alone.noisy_tested) == (whole.residual_width, True)
    error = np.asarray(stack.master.uncertainty.array)
    plain = create_noise_map(stack.master.data, unit="electron", error=error, **images)
    np.testing.assert_array_equal(plain.codes, whole.codes)


def test_limits_and_keywords_are_the_same():
    stack = stack_of(n_frames=3)
    limits = NoiseMapParameters(hot_pixel_sigma=3.0, background_box=16)
    by_limits, by_keywords = create_noise_map(stack, limits), create_noise_map(stack, hot_pixel_sigma=3)
    np.testing.assert_array_equal(by_limits.codes, by_keywords.codes)
    assert by_limits.count(PixelCode.HOT) > create_noise_map(stack, limits, hot_pixel_sigma=5.0).count(PixelCode.HOT)
    with pytest.raises(InputError, match="background_box is 2, expected a whole number from 4 to 64"):
        create_noise_map(stack, background_box=2)
    with pytest.raises(InputError, match="unknown key 'error'"):
        create_noise_map(stack, error=stack.noise)
    with pytest.raises(TypeError, match="expected NoiseMapParameters or keyword arguments, found ndarray"):
        create_noise_map(stack.master, stack.noise)


def test_further_codes_add_to_those_of_the_map():
    image = np.random.default_rng(3).normal(0, 1, (64, 64)).astype(np.float32)
    image[5, 6] = 50
    plain = create_noise_map(image, unit="electron", error=np.ones_like(image))
    nowhere, there = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    there[5, 6:8] = True
    more = plain.with_codes({1 << 30: there, 65536: nowhere})
    assert (more.codes[5, 6], more.codes[5, 7]) == (PixelCode.HOT.value | 1 << 30, 1 << 30)
    assert [more.count(code) for code in (PixelCode.HOT.value, 1 << 30, 65536)] == [1, 2, 0]
    assert [plain.count(code) for code in (PixelCode.HOT.value, 1 << 30, 65536)] == [1, 0, 0]
    np.testing.assert_array_equal(more.codes[~there], plain.codes[~there])


@pytest.mark.parametrize("excess", [35, 50, 200, 60000])
@pytest.mark.parametrize("size", [9, 16, 30, 60, 100])
@pytest.mark.parametrize("place", [(200, 304), (203, 305), (204, 300)])  # whole blocks, parts of them, halves
def test_a_large_defect_makes_no_false_codes_around_it(place, size, excess):
    _, glow = detector_pattern()
    image = (glow + np.random.default_rng(size).normal(0, 2.5, SHAPE)).astype(np.float32)
    inside = np.zeros(SHAPE, bool)
    inside[place[0] : place[0] + size, place[1] : place[1] + size] = True
    image[inside] += excess
    codes = create_noise_map(image, unit="electron", error=np.full(SHAPE, 2.5, np.float32)).codes
    assert (codes[inside] & PixelCode.HOT.value > 0).mean() > 0.8
    assert np.count_nonzero(codes[~inside]) <= 2


def test_a_border_of_another_level_does_not_change_the_background():
    image = np.random.default_rng(1).normal(0, 2.5, (256, 256)).astype(np.float32) + 100
    image[16:-16, 16:-16] += 50  # all that it encloses is no defect
    background = measure_background(image, ((slice(0, 256), slice(0, 256)),))
    assert np.median(background.total_e[64:-64, 64:-64]) == pytest.approx(150, abs=1)


def test_blocks_without_data_get_the_level_around_them():
    slope = 0.25 * np.mgrid[:256, :256][0]
    image = (slope + np.random.default_rng(1).normal(0, 2.5, (256, 256))).astype(np.float32)
    image[40:80, 40:80] = np.nan
    total = measure_background(image, ((slice(0, 256), slice(0, 256)),)).total_e
    np.testing.assert_allclose(total[32:88, 32:88], slope[32:88, 32:88], atol=3)  # 32 is the median of all


@pytest.mark.parametrize("excess", [20, 600, -200])
@pytest.mark.parametrize("bad", [[63], [62, 63], [61, 62, 63], [64, 65], [62, 63, 64, 66]])
@pytest.mark.parametrize("turned", [False, True])
def test_bad_lines_at_the_edge_of_an_amplifier_do_not_move_it(bad, excess, turned):
    pattern, glow = detector_pattern()
    image = (pattern + glow + np.random.default_rng(4).normal(0, 2.5, SHAPE)).astype(np.float32)
    image[:, bad] += excess
    inside = np.zeros(SHAPE, bool)
    inside[:, bad] = True
    regions = AMPLIFIERS
    if turned:  # amplifiers one above the other
        image, inside = np.ascontiguousarray(image.T), inside.T
        regions = tuple((columns, rows) for rows, columns in AMPLIFIERS)
    error = np.full(SHAPE, 2.5, np.float32)
    codes = create_noise_map(image, unit="electron", error=error, regions=regions, column_parity=not turned).codes
    assert np.count_nonzero(codes[~inside]) <= 6
    assert (codes[inside] & (PixelCode.HOT.value | PixelCode.COLD.value) > 0).mean() > (
        0.9 if abs(excess) > 20 else 0.5
    )


@pytest.mark.parametrize("corner", [(203, 211), (203, 452), (0, 452), (0, 0)])
def test_a_defect_at_the_border_is_found_whole(corner):
    y, x = corner
    image = np.random.default_rng(7).normal(60, 4, SHAPE).astype(np.float32)
    inside = np.zeros(SHAPE, bool)
    inside[y : y + 60, x : x + 60] = True
    image[inside] -= 60
    codes = create_noise_map(image, unit="electron", error=np.full(SHAPE, 4.0, np.float32)).codes
    assert (codes[inside] != 0).mean() >= 0.99
    assert np.count_nonzero(codes[~inside]) < 10


@pytest.mark.parametrize("half", [slice(0, 256), slice(256, 512)])
def test_a_dead_half_amplifier_is_found_whole(half):
    pattern, _ = detector_pattern()
    image = (pattern + np.random.default_rng(8).normal(60, 4, SHAPE)).astype(np.float32)
    inside = np.zeros(SHAPE, bool)
    inside[half, 192:256] = True
    image[inside] -= 60
    error = np.full(SHAPE, 4.0, np.float32)
    codes = create_noise_map(image, unit="electron", error=error, regions=AMPLIFIERS, column_parity=True).codes
    assert (codes[inside] != 0).mean() >= 0.99
    assert np.count_nonzero(codes[~inside]) < 10


@pytest.mark.parametrize("pattern", [0.0, 1.0, 2.0])
def test_a_column_pattern_hides_no_hot_pixel_and_codes_no_column(pattern):
    rng = np.random.default_rng(41)
    image = rng.normal(0, 1, SHAPE) + rng.normal(0, pattern, SHAPE[1])
    hot = rng.random(SHAPE) < 0.004
    image[hot] += rng.uniform(6, 8, hot.sum())
    result = create_noise_map(image, unit="electron", error=np.ones(SHAPE, np.float32))
    assert (result.codes[hot] & PixelCode.HOT.value > 0).mean() >= 0.85
    assert result.bad_columns == 0
    assert np.count_nonzero(result.codes[~hot]) <= 3


@pytest.mark.parametrize("rows", [slice(0, 512), slice(101, 163)])
@pytest.mark.parametrize("level", [2.0, 3.0, -4.0, 6.0])
def test_columns_that_stand_out_are_coded(rows, level):
    image = np.random.default_rng(51).normal(0, 1, SHAPE)
    columns = np.linspace(30, 480, 5).astype(int)
    image[rows, columns] += level
    inside = np.zeros(SHAPE, bool)
    inside[rows, columns] = True
    result = create_noise_map(image, unit="electron", error=np.ones(SHAPE, np.float32))
    coded = result.codes & PixelCode.COLUMN.value > 0
    assert result.bad_columns == 5
    assert coded[inside].mean() >= 0.95
    assert np.count_nonzero(coded & ~inside) <= 20


def test_the_cold_tail_is_that_of_the_noise():
    image = np.random.default_rng(5).normal(0, 1, SHAPE)
    image[10, ::50] = -7.0  # as noise of wide tails has
    image[20, ::50] = -40.0  # defects
    assert create_noise_map(image, unit="electron", error=np.ones(SHAPE, np.float32)).cold_tail == len(
        range(0, 512, 50)
    )


def test_noise_below_the_rounding_makes_no_codes():
    rng = np.random.default_rng(705)
    frames = [np.rint(rng.normal(1000.1, 0.3, SHAPE)).astype(np.float32) * 10 for _ in range(5)]
    result = create_noise_map(clip_and_stack(frames, step_e=10.0, unit="electron"))
    assert not result.noisy_tested
    assert np.count_nonzero(result.codes) <= 26  # a hundred per million


@pytest.mark.parametrize("step_e", [0.0, 2.0])
def test_constant_pixels_are_dead(step_e):
    rng = np.random.default_rng(9)
    raw = np.rint(rng.normal(500, 5, (10, *SHAPE)))
    raw[:, 40, 50:60] = 501
    frames = list((2 * raw + rng.normal(0, 4, (10, 1, 1)) * (step_e == 0)).astype(np.float32))
    if step_e == 0:  # the level drifts, and no pixel is constant
        assert create_noise_map(clip_and_stack(frames, unit="electron")).count(PixelCode.COLD) == 0
    frames = list((2 * raw).astype(np.float32))
    codes = create_noise_map(clip_and_stack(frames, step_e=step_e, unit="electron")).codes
    assert (codes[40, 50:60] & PixelCode.COLD.value).all()
    assert np.count_nonzero(codes) <= 12
