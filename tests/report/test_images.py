import base64
import io

import numpy as np
import pytest

from soxspipe.pixel_codes import PixelCode
from soxspipe.report.bad_pixels import CODE_COLOURS, describe_bad_pixels
from soxspipe.report.images import block_means, image_panel, palette_png, scaled_panel
from soxspipe.report.plots import histogram


def decoded(png):
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(png.partition(",")[2])))


def test_block_means_leave_missing_values_out():
    image = np.array([[1.0, 3.0, 10.0], [np.nan, 5.0, 20.0], [7.0, 9.0, np.nan]], np.float32)
    np.testing.assert_array_equal(block_means(image, 2, 2), [[3.0, 15.0], [8.0, np.nan]])
    np.testing.assert_array_equal(block_means(image, 1, 1), image)


def test_an_image_has_its_first_row_at_the_bottom_and_no_data_transparent():
    png = palette_png(np.array([[0, 1], [2, 2]], np.uint8), bytes([0, 0, 0, 255, 0, 0, 0, 255, 0]))
    pixels = np.asarray(decoded(png).convert("RGBA"))
    assert pixels[0].tolist() == [[0, 255, 0, 255]] * 2
    assert pixels[1, 1].tolist() == [255, 0, 0, 255]
    assert pixels[1, 0, 3] == 0


def test_the_colour_bar_has_the_limits_of_the_image():
    panel = scaled_panel(np.array([[0.0, 100.0]]), (1, 2), unit="electron", limits=(10.0, 30.0))
    assert [label for _, label in panel.bar] == ["10", "20", "30"]
    assert panel.unit == "electron"


def test_ticks_count_pixels_from_one_and_from_the_origin_of_a_part():
    panel = image_panel("", (10, 20), (100, 200))
    assert [label for _, label in panel.x_ticks] == [201, 211, 220]
    assert [label for _, label in panel.y_ticks] == [101, 106, 110]
    assert panel.y_ticks[0][0] > panel.y_ticks[-1][0]


@pytest.mark.parametrize("image", [np.full((8, 8), np.nan), np.full((8, 8), 5.0), np.empty((0, 0))])
def test_images_without_a_range_are_drawn(image):
    if image.size:
        assert scaled_panel(image, image.shape).png


def test_a_single_bad_pixel_shows_in_the_map_of_a_large_detector():
    codes = np.zeros((2048, 2048), np.int32)
    codes[1001, 5] = PixelCode.HOT
    bad = describe_bad_pixels(np.zeros(codes.shape, np.float32), codes, "electron")
    shown = np.asarray(decoded(bad.map.png).convert("RGBA"))
    assert shown.shape[:2] == (293, 293)
    (place,) = np.argwhere(shown[..., 3] > 0)
    assert place.tolist() == [292 - 1001 // 7, 5 // 7]
    assert bytes(shown[tuple(place)][:3].tolist()).hex() == CODE_COLOURS[PixelCode.HOT][1:]
    assert [(entry.code, entry.number) for entry in bad.legend] == [(256, 1)]
    assert bad.clusters == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_codes_of_any_type_are_read(dtype):
    codes = np.zeros((64, 64), dtype)
    codes[3, 4] = 32
    bad = describe_bad_pixels(np.zeros(codes.shape, np.float32), codes, "electron")
    assert [(entry.code, entry.number) for entry in bad.legend] == [(32, 1)]


def test_the_worst_clusters_and_columns_come_first():
    codes = np.zeros((100, 90), np.int32)
    codes[20:23, 30:33] = PixelCode.HOT
    codes[70, 60:62] = PixelCode.NOISY | PixelCode.COLD
    codes[:, 50] = PixelCode.COLUMN | PixelCode.HOT
    codes[40:, 10] = PixelCode.COLUMN
    bad = describe_bad_pixels(np.zeros(codes.shape, np.float32), codes, "electron")
    assert [one.title for one in bad.clusters] == [
        "9 touching bad pixels at X 32, Y 22",
        "2 touching bad pixels at X 61, Y 71",
    ]
    assert [one.title.partition(":")[0] for one in bad.columns] == ["Column X 51", "Column X 11"]
    assert bad.total == 9 + 2 + 100 + 60
    assert sum(entry.number for entry in bad.legend) == bad.total + 2 + 100


def test_a_detector_that_is_bad_everywhere_has_a_map():
    codes = np.full((64, 64), int(PixelCode.NO_DATA), np.int32)
    bad = describe_bad_pixels(np.full(codes.shape, np.nan, np.float32), codes, "electron")
    assert (bad.total, bad.share) == (64 * 64, 1.0)
    assert len(bad.clusters) == 1


def test_bins_are_multiples_of_the_step_of_rounded_values():
    values = np.repeat(np.arange(0.0, 10.0, 0.5), 7).astype(np.float32)
    edges, counts = histogram(values, (-0.25, 9.75), step=0.5)
    assert counts.tolist() == [7] * 20
    assert edges[[0, -1]].tolist() == [-0.25, 9.75]
