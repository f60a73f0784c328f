"""Images of two versions side by side: decoded here, made small, and encoded again.

Pillow reads them, with the five formats alone that pages know, and only where the header says how many pixels come.
SVG stays what it is, as the source of an ``img`` element: there browsers run no script and load nothing for it
(HTML, "secure static mode" of SVG integration).
"""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import PurePosixPath

from .model import Picture

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg"})
MAX_BYTES = 10 * 2**20
MAX_SVG_BYTES = 2**18
MAX_PIXELS = 25_000_000
MAX_SIDE_PIXELS = 400
"""What is larger is made smaller: it is for looking at, and stays in the saved notebook."""


def is_image(path: str) -> bool:
    """Whether a file is called like an image that pages show."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def picture(path: str, content: bytes) -> Picture | None:
    """Return an image fit for the page, or None where it is none, or larger than may be."""
    if len(content) > MAX_BYTES:
        return None
    return _svg(content) if PurePosixPath(path).suffix.lower() == ".svg" else _raster(content)


def _svg(content: bytes) -> Picture | None:
    if b"<svg" not in content or len(content) > MAX_SVG_BYTES:
        return None
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}", "SVG")


def _raster(content: bytes) -> Picture | None:
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > MAX_PIXELS:
                return None
            description = f"{image.format}, {width} × {height} pixels"
            image.draft("RGB", (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
            shown = image.convert("RGBA")
        shown.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
        encoded = io.BytesIO()
        shown.save(encoded, "PNG")
    except (
        Exception
    ):  # Pillow raises whatever its decoders meet in a broken file: ValueError, SyntaxError, struct.error.
        return None
    return Picture(f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}", description)
