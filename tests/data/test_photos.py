"""Every kind of photo becomes upright 8-bit RGB, or is refused with its name and the way out."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data import photos
from data.photos import UPRIGHT, BadPhoto, examine_photo, read_photo
from tests.datasets import huge_png, pixels, write_photo


def _png(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, format="PNG", **options)
    return path


def test_rgb_comes_back_exactly(tmp_path: Path) -> None:
    path = _png(tmp_path / "a.png", Image.fromarray(pixels(1)))
    np.testing.assert_array_equal(read_photo(path), pixels(1))
    examined = examine_photo(path, "a.png")
    assert examined.size == (24, 32)
    assert examined.converted == ()


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = write_photo(tmp_path / "a.jpg")
    assert examine_photo(path, "a").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, turn: int) -> None:
    upright = pixels(2)
    # Store the photo as a camera would that was held in this way, then read it back.
    undo = {1: None, 6: 8, 8: 6}.get(turn, turn)
    stored = Image.fromarray(upright)
    if undo is not None:
        stored = stored.transpose(UPRIGHT[undo])
    exif = Image.Exif()
    exif[photos.ORIENTATION] = turn
    path = _png(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(read_photo(path), upright)
    assert examine_photo(path, "a").size == (24, 32)
    assert examine_photo(path, "a").converted == (() if turn == 1 else ("exif-rotated",))


@pytest.mark.parametrize("turn", [0, 9, 4711])
def test_an_orientation_that_does_not_exist_counts_as_upright(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[photos.ORIENTATION] = turn
    path = _png(tmp_path / "a.png", Image.fromarray(pixels(2)), exif=exif)
    np.testing.assert_array_equal(read_photo(path), pixels(2))


def test_grey_gets_three_equal_channels(tmp_path: Path) -> None:
    grey = pixels(3)[..., 0].copy()
    path = _png(tmp_path / "a.png", Image.fromarray(grey))
    np.testing.assert_array_equal(read_photo(path), np.repeat(grey[..., None], 3, axis=2))
    assert examine_photo(path, "a").converted == ("grey",)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype(np.uint16)
    path = _png(tmp_path / "a.png", Image.fromarray(ramp))
    read = read_photo(path)[..., 0]
    np.testing.assert_allclose(read, ramp / 257.0, atol=0.51)
    assert len(np.unique(read)) > 250
    assert examine_photo(path, "a").converted == ("16-bit",)


def test_cmyk_becomes_rgb_of_about_the_same_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    flat = np.full((24, 32, 3), (200, 60, 30), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(path, quality=95)
    assert np.abs(read_photo(path).astype(int) - flat).max() < 6
    assert examine_photo(path, "a").converted == ("cmyk",)


def test_a_palette_photo_is_read_in_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(pixels(4)).quantize(16)
    path = _png(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_photo(path), np.asarray(image.convert("RGB")))
    assert examine_photo(path, "a").converted == ("palette",)


def test_transparent_parts_lie_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([pixels(5), np.full((24, 32), 255, np.uint8)])
    rgba[:4, :, 3] = 0
    read = read_photo(_png(tmp_path / "a.png", Image.fromarray(rgba)))
    assert (read[:4] == 255).all()
    np.testing.assert_array_equal(read[4:], pixels(5)[4:])
    assert examine_photo(tmp_path / "a.png", "a").converted == ("alpha",)


def test_a_colour_marked_transparent_lies_on_white_too(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (10, 20, 30))
    image.putpixel((0, 0), (1, 2, 3))
    read = read_photo(_png(tmp_path / "a.png", image, transparency=(10, 20, 30)))
    assert read[0, 0].tolist() == [1, 2, 3]
    assert (read[1:] == 255).all()


def _bad(content: bytes, path: Path) -> BadPhoto:
    path.write_bytes(content)
    with pytest.raises(BadPhoto) as caught:
        read_photo(path)
    assert path.name in str(caught.value)
    return caught.value


def test_files_of_no_use_are_named_with_a_code(tmp_path: Path) -> None:
    jpeg = write_photo(tmp_path / "good.jpg", size=(64, 64)).read_bytes()
    png = write_photo(tmp_path / "good.png", size=(64, 64)).read_bytes()
    assert _bad(b"", tmp_path / "a.jpg").code == "empty"
    assert _bad(b"<html>404</html>", tmp_path / "a.jpg").code == "not-a-photo"
    assert _bad(b"%!PS-Adobe-3.0 EPSF-3.0\n", tmp_path / "a.jpg").code == "not-a-photo"
    assert _bad(jpeg[: len(jpeg) // 2], tmp_path / "a.jpg").code == "damaged"
    assert _bad(png[: len(png) // 2], tmp_path / "a.png").code == "damaged"


def test_float_pixels_have_no_known_range_and_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(path)
    with pytest.raises(BadPhoto, match="8-bit RGB") as caught:
        read_photo(path)
    assert caught.value.code == "mode"


def test_a_small_file_that_unpacks_to_a_huge_photo_is_refused_unopened(tmp_path: Path) -> None:
    for side in (9_000, 11_000, 30_000):  # below, between and above Pillow's own two limits
        assert _bad(huge_png(side), tmp_path / "a.png").code == "too-large"
    assert _bad(huge_png(8_000), tmp_path / "a.png").code == "damaged"  # allowed, but cut short


def test_a_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_photo(tmp_path / "no.jpg")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF"]),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=12),
)
@pytest.mark.filterwarnings("ignore")
def test_whatever_bytes_change_the_answer_is_a_photo_or_a_bad_photo(
    tmp_path: Path, kind: str, place: float, junk: bytes
) -> None:
    content = BytesIO()
    exif = Image.Exif()
    exif[photos.ORIENTATION] = 6
    Image.fromarray(pixels(1)).save(content, format=kind, exif=exif)
    broken = bytearray(content.getvalue())
    start = int(place * len(broken))
    broken[start : start + len(junk)] = junk
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(broken))
    code = ""
    try:
        read_photo(path)
    except BadPhoto as error:
        code = error.code
    assert code in {"", "damaged", "not-a-photo", "too-large", "mode"}
