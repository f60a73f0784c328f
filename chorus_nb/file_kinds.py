"""What a file is, by its first bytes: pictures, films, sounds, and what a frame can show. Its name is not asked."""

from __future__ import annotations

import base64
import re
from html import escape

from .sanitize import IMAGE_SIGNATURES

_LOOKED_AT = 2048
_MEDIA_SIGNATURES = {
    # ISO/IEC 14496-12 (mp4), RFC 9559 (Matroska, WebM), RFC 3533 (Ogg), RFC 9639 (FLAC); an MP3 by its tag or header.
    "mp4": re.compile(rb".{4}ftyp", re.DOTALL),
    "webm": re.compile(rb"\x1a\x45\xdf\xa3"),
    "ogg": re.compile(rb"OggS"),
    "wav": re.compile(rb"RIFF.{4}WAVE", re.DOTALL),
    "flac": re.compile(rb"fLaC"),
    "mpeg": re.compile(rb"ID3|\xff[\xe2-\xfb]"),
}
# WOFF File Format 1.0 and 2.0; OpenType 1.9, "Table Directory".
_FONT_SIGNATURES = {b"wOFF": "woff", b"wOF2": "woff2", b"\0\1\0\0": "ttf", b"true": "ttf", b"OTTO": "otf"}
_ONLY_SOUND = ("wav", "flac", "mpeg")


def image_type(data: bytes) -> str | None:
    """Return the MIME type of a picture that browsers show, or None."""
    for mime, signature in IMAGE_SIGNATURES.items():
        if signature.match(data):
            return mime
    return "image/svg+xml" if _is_drawing(data) else None


def media_type(data: bytes, tag: str) -> str | None:
    """Return the MIME type of a film or a sound, or None. Where a format may be both, ``tag`` says which is meant."""
    kind = next((kind for kind, signature in _MEDIA_SIGNATURES.items() if signature.match(data)), None)
    family = "audio" if tag == "audio" or kind in _ONLY_SOUND else "video"
    return kind and f"{family}/{kind}"


def font_type(data: bytes) -> str | None:
    """Return the MIME type (RFC 8081) of a font, or None."""
    kind = _FONT_SIGNATURES.get(data[:4])
    return kind and f"font/{kind}"


def page_of(data: bytes) -> str | None:
    """Return HTML that shows a page, a picture or text; None of what is none of these."""
    if mime := image_type(data):
        return f'<img src="data:{mime};base64,{base64.b64encode(data).decode()}">'
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    return text if text.lstrip().startswith("<") else f"<pre>{escape(text)}</pre>"


def _is_drawing(data: bytes) -> bool:
    """Tell whether it begins as SVG does: after what may stand before the first element (XML 1.0, section 2.8)."""
    begin = data[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip()
    return bool(re.match(rb"(?:<\?xml|<!--|<!DOCTYPE\s+svg|<svg)", begin)) and b"<svg" in begin
