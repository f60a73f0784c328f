"""The number in the file name of a cell, which a ``SyntaxError`` and a warning show: as ipykernel has it."""

from struct import iter_unpack as _iter_unpack

SEED = 0xC70F6907
"""Where ipykernel starts its hash of a cell's text."""


def cell_number(code: str) -> int:
    """Return the number: the same for the same text."""
    return murmur2(code.encode("utf-8", "surrogatepass"), SEED)


def murmur2(data: bytes, seed: int) -> int:
    """Return Austin Appleby's MurmurHash2 of ``data``, 32 bits."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    whole = len(data) & ~3
    digest = seed ^ len(data)
    for (word,) in _iter_unpack("<I", data[:whole]):
        word = word * factor & mask
        digest = digest * factor & mask ^ (word ^ word >> 24) * factor & mask
    if data[whole:]:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * factor & mask
    digest = (digest ^ digest >> 13) * factor & mask
    return digest ^ digest >> 15
