"""Pictures: colours of classes, hatching of ignored pixels, sizes."""

import base64
import io

import numpy as np
from PIL import Image

from knowledge.classes import VOC, ClassTable
from stages.reports.paint import (
    colours,
    encoded,
    matrix_picture,
    paint_cam,
    paint_label,
    paint_regions,
    region_colours,
    shrunk_label,
    shrunk_regions,
    small_size,
)

GREY = np.full((40, 60, 3), 128, np.uint8)


def test_classes_show_their_colour_and_ignored_pixels_are_hatched() -> None:
    label = np.zeros((40, 60), np.uint8)
    label[:, 20:40], label[:, 40:] = 15, 255
    made = paint_label(GREY, label, colours(VOC))
    expected = np.round(0.3 * 128 + 0.7 * colours(VOC)[15])
    assert (made[:, 20:40] == expected).all()
    assert set(np.unique(made[:, 40:])) == {176, 255}
    assert (made[:, :20] > 180).all()


def test_of_more_classes_than_a_palette_holds_each_has_a_colour() -> None:
    many = ClassTable.of_names("many", [f"c{place}" for place in range(300)])
    label = np.full((40, 60), 255, np.int16)
    label[:, 20:40], label[:, 40:] = 300, 32767
    made = paint_label(GREY, label, colours(many))
    for columns, value in ((slice(20), 255), (slice(20, 40), 300)):
        assert (made[:, columns] == np.round(0.3 * 128 + 0.7 * colours(many)[value])).all()
    assert set(np.unique(made[:, 40:])) == {176, 255}
    assert (shrunk_label(label, (4, 6))[0] == [255, 255, 300, 300, 32767, 32767]).all()


def test_a_cam_is_as_opaque_as_it_is_high() -> None:
    maps = np.zeros((2, 40, 60), np.float32)
    maps[0, :, 30:], maps[1, :, 45:] = 0.5, 1.0
    made = paint_cam(GREY, maps, (12, 15), colours(VOC)).astype(int)
    pale = made[0, 0]
    assert (made[:, :30] == pale).all()
    distance = [np.abs(made[0, x] - colours(VOC)[label]).sum() for x, label in ((35, 12), (50, 15))]
    assert distance[1] < distance[0] < np.abs(pale - colours(VOC)[12]).sum()


def test_a_photo_without_classes_is_drawn_pale() -> None:
    made = paint_cam(GREY, np.zeros((0, 40, 60), np.float32), (), colours(VOC))
    assert made.shape == GREY.shape


def test_sizes_keep_the_aspect_and_never_enlarge() -> None:
    assert small_size((375, 500), 250) == (188, 250)
    assert small_size((30, 40), 250) == (30, 40)
    assert small_size((2, 5000), 250) == (1, 250)
    assert set(np.unique(shrunk_label(np.tile(np.uint8([[3, 200]]), (9, 9)), (4, 5)))) <= {3, 200}


def test_a_picture_decodes_to_what_went_in() -> None:
    picture = encoded(GREY, "grey", quality=90)
    head, text = picture.uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert image.size == (60, 40) == (picture.width, picture.height)
        assert np.abs(np.asarray(image).astype(int) - 128).max() < 3


def test_a_matrix_is_the_more_opaque_the_larger_its_cells() -> None:
    picture = matrix_picture(np.array([[0, 0.5], [1, 0]], np.float32), "two by two")
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        opacity = np.asarray(image)[..., 3]
    assert opacity[0, 0] == 0 < opacity[0, 1] < opacity[1, 0] == 255


def test_regions_have_colours_of_their_own_and_borders() -> None:
    regions = np.zeros((40, 60), np.int64)
    regions[:, 30:] = 63
    made = paint_regions(GREY, regions)
    shown = region_colours(64)
    assert len(np.unique(shown, axis=0)) == 64
    assert (made[:, :30] == np.round(0.5 * 128 + 0.5 * shown[0])).all()
    assert (made[:, 31:] == np.round(0.5 * 128 + 0.5 * shown[63])).all()
    assert (made[:, 30] < made[:, 31]).all(), "a border is darker"
    assert (region_colours(9) == shown[:9]).all(), "a token keeps its colour"
    assert np.unique(shrunk_regions(regions, (4, 6))[:, 2:4]).tolist() == [0, 63]
    assert shrunk_regions(regions, (40, 60)).tolist() == regions.tolist()
