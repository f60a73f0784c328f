"""Figures as people read them: binary byte units, seconds and minutes, text that is safe to show."""

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def format_bytes(size_bytes: float) -> str:
    """Write a size with a binary unit and two to four digits.

    Parameters
    ----------
    size_bytes
        Size in bytes; a negative one (a counter that was reset) counts as zero.

    Returns
    -------
    str
        ``"0 B"``, ``"1.5 KiB"``, ``"34 MiB"``, ``"2 GiB"``.
    """
    value, unit = _scale_bytes(max(size_bytes, 0.0))
    return f"{value} {unit}"


def format_bytes_pair(first_bytes: float, second_bytes: float) -> str:
    """Write two sizes as ``first / second`` and name a unit they share only once."""
    (first, first_unit), (second, second_unit) = (_scale_bytes(max(size, 0.0)) for size in (first_bytes, second_bytes))
    if first_unit == second_unit:
        return f"{first} / {second} {second_unit}"
    return f"{first} {first_unit} / {second} {second_unit}"


def format_duration(duration_s: float) -> str:
    """Write a duration: ``"30 ms"``, ``"1.2 s"``, ``"3 min 05 s"``, ``"2 h 05 min"``, ``"3 d 04 h"``."""
    duration_s = max(duration_s, 0.0)
    if duration_s < 0.0995:
        return f"{duration_s * 1000:.0f} ms"
    if duration_s < 59.95:
        return f"{duration_s:.1f} s"
    seconds = round(duration_s)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600:02d} h"


def printable(text: object, max_chars: int = 64) -> str:
    """Make one harmless line of a text of unknown origin.

    Control characters, escape sequences and marks that turn the writing direction become U+FFFD; what is longer than
    `max_chars` ends in an ellipsis.
    """
    head = str(text)[: max_chars + 1]
    line = "".join(char if char.isprintable() else "\ufffd" for char in head)
    return line if len(line) <= max_chars else line[: max_chars - 1] + "\u2026"


def _scale_bytes(size_bytes: float) -> tuple[str, str]:
    for unit in _BYTE_UNITS[:-1]:
        # 1023.7 KiB would be written 1024 KiB.
        if round(size_bytes) < 1024:
            return _two_digits(size_bytes), unit
        size_bytes /= 1024
    return _two_digits(size_bytes), _BYTE_UNITS[-1]


def _two_digits(value: float) -> str:
    text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return text.removesuffix(".0")
