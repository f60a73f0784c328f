"""The file name that a cell is compiled under, as ipykernel has it: a ``SyntaxError`` and a warning show it."""

import os
import struct
import tempfile

SEED = 0xC70F6907
"""Where ipykernel starts its hash of a cell's text."""


def cell_file_name(code: str) -> str:
    """Return the name: the same for the same text, as long as the process lives."""
    digest = murmur2(code.encode("utf-8", "surrogatepass"), SEED)
    return os.path.join(tempfile.gettempdir(), "ipykernel_%d" % os.getpid(), "%d.py" % digest)


def murmur2(data: bytes, seed: int) -> int:
    """Return Austin Appleby's MurmurHash2 of ``data``, 32 bits."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    whole = len(data) & ~3
    digest = seed ^ len(data)
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = word * factor & mask
        digest = digest * factor & mask ^ (word ^ word >> 24) * factor & mask
    if data[whole:]:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * factor & mask
    digest = (digest ^ digest >> 13) * factor & mask
    return digest ^ digest >> 15
