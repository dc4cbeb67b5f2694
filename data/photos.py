"""Photos as arrays: every kind that a camera or a web page produces becomes 8-bit RGB, upright."""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # no format that starts a foreign program
PIXEL_LIMIT = 80_000_000  # below Pillow's own limit; 80 megapixels decode to 240 MB

ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CONVERTED = {
    "1": "grey",
    "L": "grey",
    "LA": "alpha",
    "PA": "alpha",
    "La": "alpha",
    "RGBA": "alpha",
    "RGBa": "alpha",
    "P": "palette",
    "CMYK": "cmyk",
    "YCbCr": "colour-space",
    "LAB": "colour-space",
    "HSV": "colour-space",
    "I": "16-bit",
    "I;16": "16-bit",
    "I;16B": "16-bit",
    "I;16L": "16-bit",
    "I;16N": "16-bit",
}
"""Pillow modes that are converted to RGB, and the code under which `index` lists them."""


class BadPhoto(ValueError):
    """A photo that cannot be used. `code` is the short name of the reason in problems.jsonl."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Examined:
    """What one full decode of a photo tells: (height, width) upright, digest, conversions."""

    size: tuple[int, int]
    sha256: str
    converted: tuple[str, ...]
    """Codes of what was done to make it upright 8-bit RGB: "exif-rotated", "grey", "cmyk"..."""


def read_photo(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a photo to RGB in 0..255, turned upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit photos are converted; transparent parts lie on white.
    Raises `FileNotFoundError`, or `BadPhoto` (a `ValueError`) naming the file and the way out.
    """
    image, _ = _decode(str(path), path.read_bytes())
    return np.asarray(image)


def examine_photo(path: Path, name: str) -> Examined:
    """Decode a photo in full and say its size, digest and conversions.

    Raises as `read_photo`; messages call the photo `name`, wherever it lies.
    """
    content = path.read_bytes()
    image, converted = _decode(name, content)
    width, height = image.size
    return Examined((height, width), hashlib.sha256(content).hexdigest(), converted)


def _decode(name: str, content: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    if not content:
        raise BadPhoto("empty", f"{name} has no bytes: fetch it again or take it off the list")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > PIXEL_LIMIT:
                raise _too_large(name, f"{width} x {height} pixels")
            image.load()
            turn = _orientation(image)
            rgb, code = _rgb(name, image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "more pixels than Pillow decodes") from error
    except UnidentifiedImageError as error:
        raise BadPhoto(
            "not-a-photo", f"{name} is no photo ({', '.join(FORMATS)}): export it again"
        ) from error
    except BadPhoto:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise _damaged(name, error) from error
    except (struct.error, zlib.error, OverflowError, AttributeError) as error:
        raise _damaged(name, error) from error
    codes = () if code is None else (code,)
    if turn in UPRIGHT:
        return rgb.transpose(UPRIGHT[turn]), (*codes, "exif-rotated")
    return rgb, codes


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation 1..8; broken EXIF data counts as upright, as in every viewer."""
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, UserWarning):
        return 1
    return turn if isinstance(turn, int) else 1


def _rgb(name: str, image: Image.Image) -> tuple[Image.Image, str | None]:
    """The image as mode "RGB", and the code of the conversion where there was one."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, None
    if mode != "RGB" and mode not in CONVERTED:
        raise BadPhoto("mode", f"{name} has pixel format {mode}: export it as 8-bit RGB")
    if CONVERTED.get(mode) == "16-bit":
        # convert("L") clips at 255; 65535 / 257 = 255 keeps the whole range
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray((values / 257.0).round().astype(np.uint8)).convert("RGB"), "16-bit"
    if CONVERTED.get(mode) == "alpha" or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB"), "alpha"
    return image.convert("RGB"), CONVERTED[mode]


def _too_large(name: str, found: str) -> BadPhoto:
    return BadPhoto(
        "too-large", f"{name} has {found}; the limit is {PIXEL_LIMIT:,}: scale it down or cut it up"
    )


def _damaged(name: str, error: Exception) -> BadPhoto:
    return BadPhoto("damaged", f"{name} cannot be decoded ({error}): fetch or export it again")
