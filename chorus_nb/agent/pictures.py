"""Pictures of Pillow, and figures of matplotlib as pictures: PNG in a buffer."""

import io
import struct
import sys
from typing import Any, Dict, Optional

from .arrays import load
from .decoding import Decode, Decoder
from .encoding import Encode, Encoder
from .values import CrossingError, DecodeError, Path

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Those that PNG keeps as they are."""

_BYTES_OF_PIXEL = 4


def encoder_of(value: Any) -> Optional[Encode]:
    """Return what encodes a value where it is a picture or a figure, else None."""
    image, figure = sys.modules.get("PIL.Image"), sys.modules.get("matplotlib.figure")
    if image is not None and isinstance(value, image.Image):
        return _picture
    return _figure if figure is not None and isinstance(value, figure.Figure) else None


def _picture(encoder: Encoder, value: Any, path: Path) -> Any:
    if value.mode not in _MODES:
        hint = '@.convert("RGB") can, or numpy.asarray(@).'
        raise CrossingError(path, "is a picture of the mode %s, which PNG does not have" % value.mode, hint)
    frames = getattr(value, "n_frames", 1)
    if frames > 1:
        hint = "@.copy() can, which is that one; for all of them, PIL.ImageSequence.all_frames(@)."
        raise CrossingError(path, "is a picture of %d frames, of which one would arrive" % frames, hint)
    file = io.BytesIO()
    value.save(file, "PNG", compress_level=1)
    return _add(encoder, file, path)


def _figure(encoder: Encoder, value: Any, path: Path) -> Any:
    file = io.BytesIO()
    value.savefig(file, format="png")
    return _add(encoder, file, path)


def _add(encoder: Encoder, file: io.BytesIO, path: Path) -> Any:
    data = file.getbuffer()
    encoder.count(_unpacked_bytes(data), path)  # As the receiver does.
    encoder.add(len(data), lambda put: put(data), path)
    return {"picture": 0}


def _unpacked_bytes(data: Any) -> int:
    """Return what a PNG takes once it is unpacked: a few bytes may stand for any number of pixels (11.2.1: IHDR)."""
    width, height = struct.unpack_from(">II", data, 16)
    return _BYTES_OF_PIXEL * int(width) * int(height)


def _decoded_picture(decoder: Decoder, _: Any) -> Any:
    load("PIL.Image", ("A picture",))
    image = sys.modules["PIL.Image"]
    data = decoder.take(bytearray)
    size_bytes = _unpacked_bytes(data)
    decoder.reserve(size_bytes)
    try:
        with image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if _BYTES_OF_PIXEL * picture.width * picture.height != size_bytes:
                raise DecodeError("a picture of two sizes")
            return picture.copy()
    except image.DecompressionBombError:
        problem = "has more pixels than Pillow unpacks %s (PIL.Image.MAX_IMAGE_PIXELS)"
        raise CrossingError(("A picture",), problem, "Send numpy.asarray of it.")
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError("no picture: %s" % error)


NODES: Dict[str, Decode] = {"picture": _decoded_picture}
