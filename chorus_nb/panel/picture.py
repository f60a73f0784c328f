"""The still picture of a strip: what stays in the notebook when the widget is gone.

Same size and columns as the live strip. Transparent, in tones of equal contrast (4.3:1) on white and on near-black,
because a saved notebook does not know the theme it will be read in.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from chorus_nb.panel.figures import Level, StripFigures, Tone

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

STRIP_WIDTH_PX = 780
STRIP_HEIGHT_PX = 32
PIXEL_RATIO = 2
"""Picture pixels per CSS pixel: sharp on high-density screens."""

NAME_WIDTH_PX = 104
HISTORY_WIDTH_PX = 112
"""Room right of the columns, which the live strip shares between the history and its button."""

_PADDING_PX = 10
_OVERSAMPLING = 2
_COLOURS = 128
_Colour = tuple[int, int, int, int]
_GREY: _Colour = (120, 124, 131, 255)
_FAINT: _Colour = (128, 132, 140, 90)
_BLUE: _Colour = (47, 127, 209, 255)
_AMBER: _Colour = (178, 112, 12, 255)
_RED: _Colour = (217, 75, 75, 255)
_TONES: dict[Tone, _Colour] = {
    "idle": _GREY,
    "busy": _BLUE,
    "good": (31, 138, 91, 255),
    "warning": _AMBER,
    "bad": _RED,
}
_LEVELS: dict[Level, _Colour] = {"normal": _BLUE, "high": _AMBER, "full": _RED}


@lru_cache(maxsize=32)
def render_png(figures: StripFigures) -> bytes:
    """Draw a strip as PNG, ``STRIP_WIDTH_PX x STRIP_HEIGHT_PX`` times `PIXEL_RATIO`; equal figures, equal bytes."""
    from PIL import Image, ImageDraw

    # Shapes are drawn larger and reduced, as Pillow does not smooth them; text is smooth as it is.
    scale = PIXEL_RATIO * _OVERSAMPLING
    # The clear background is grey, not black, as it shows through the soft edges of the letters.
    clear = (*_GREY[:3], 0)
    image = Image.new("RGBA", (STRIP_WIDTH_PX * scale, STRIP_HEIGHT_PX * scale), clear)
    _draw_shapes(ImageDraw.Draw(image), figures, scale)
    image = image.reduce(_OVERSAMPLING)
    _draw_text(ImageDraw.Draw(image), figures)
    data = io.BytesIO()
    # A palette makes it a third of the size, and each cell of a notebook keeps one.
    image.quantize(_COLOURS, Image.Quantize.FASTOCTREE).save(data, "PNG")
    return data.getvalue()


def picture_metadata(figures: StripFigures) -> dict[str, object]:
    """Size in CSS pixels and alternative text, as Jupyter front ends take them in ``metadata["image/png"]``."""
    return {"width": STRIP_WIDTH_PX, "height": STRIP_HEIGHT_PX, "alt": figures.alt}


def _draw_shapes(draw: ImageDraw, figures: StripFigures, scale: int) -> None:
    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [left * scale, top * scale, right * scale - 1, bottom * scale - 1]

    draw.rounded_rectangle(box(0, 0, STRIP_WIDTH_PX, STRIP_HEIGHT_PX), 5 * scale, outline=_FAINT, width=scale)
    draw.ellipse(box(_PADDING_PX, 12, _PADDING_PX + 8, 20), fill=_TONES[figures.tone])
    left_px = _PADDING_PX + NAME_WIDTH_PX
    for column in figures.columns:
        if column.fraction is not None:
            width_px = column.width_px - 14
            draw.rounded_rectangle(box(left_px, 26, left_px + width_px, 28), scale, fill=_FAINT)
            if column.fraction > 0:
                filled_px = max(column.fraction * width_px, 2)
                draw.rounded_rectangle(box(left_px, 26, left_px + filled_px, 28), scale, fill=_LEVELS[column.level])
        left_px += column.width_px
    _draw_history(draw, figures.history, left_px, scale)


def _draw_history(draw: ImageDraw, history: tuple[float, ...], left_px: int, scale: int) -> None:
    width_px = STRIP_WIDTH_PX - _PADDING_PX - left_px
    bottom_px, height_px = 26, 19
    base = [(left_px * scale, bottom_px * scale), ((left_px + width_px) * scale, bottom_px * scale)]
    draw.line(base, fill=_FAINT, width=scale)
    if len(history) < 2:
        return
    step_px = width_px / (len(history) - 1)
    line = [
        ((left_px + index * step_px) * scale, (bottom_px - share * height_px) * scale)
        for index, share in enumerate(history)
    ]
    draw.polygon([base[0], *line, base[1]], fill=(*_BLUE[:3], 48))
    draw.line(line, fill=_BLUE, width=round(1.5 * scale), joint="curve")


def _draw_text(draw: ImageDraw, figures: StripFigures) -> None:
    left_px = _PADDING_PX + 15
    room_px = NAME_WIDTH_PX - 15 - 8
    _text(draw, left_px, 14, figures.name, 12, _GREY, room_px)
    # Pillow's font has one weight: twice, half a pixel apart, is bold.
    _text(draw, left_px + 0.5, 14, figures.name, 12, _GREY, room_px)
    _text(draw, left_px, 26, figures.status, 10, _TONES[figures.tone], room_px)
    left_px = _PADDING_PX + NAME_WIDTH_PX
    for column in figures.columns:
        _text(draw, left_px, 10.5, column.label, 9, _GREY, column.width_px - 6)
        _text(draw, left_px, 22, column.value, 11, _GREY, column.width_px - 6)
        left_px += column.width_px


def _text(
    draw: ImageDraw, left_px: float, baseline_px: float, text: str, size_px: float, fill: _Colour, room_px: float
) -> None:
    font = _font(size_px * PIXEL_RATIO)
    if font.getlength(text) > room_px * PIXEL_RATIO:
        while text and font.getlength(text + "…") > room_px * PIXEL_RATIO:
            text = text[:-1]
        text += "…"
    draw.text((left_px * PIXEL_RATIO, baseline_px * PIXEL_RATIO), text, fill=fill, font=font, anchor="ls")


@lru_cache(maxsize=8)
def _font(size: float) -> FreeTypeFont:
    from PIL import ImageFont

    # The font that comes with Pillow: the same on every machine.
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "This Pillow was built without FreeType; install the wheel: pip install --force-reinstall pillow"
        )
    return font
