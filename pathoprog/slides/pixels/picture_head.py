"""What JPEG 2000, PNG and WebP say of themselves: size, and of JPEG 2000 the colour transform and the length.

JPEG 2000: ITU-T T.800 (2002), annex A.4.2 (SOT), A.4.4 (EOC), A.5 (SIZ) and A.6.1 (COD). PNG: ISO/IEC 15948, 11.2.2.
WebP: RFC 9649.
"""

import struct
from dataclasses import dataclass

CODESTREAM = b"\xff\x4f\xff\x51"  # start of codestream, SIZ; in a JP2 file behind its boxes
COD = 0xFF52
FIRST_TILE_PART = 0xFF90
END = 0xFFD9
MAX_BOXES = 65_536  # bytes in which a JP2 file's boxes end


@dataclass(frozen=True)
class Jpeg2000Head:
    """The main header of a JPEG 2000 codestream.

    Attributes:
        width: px.
        height: px.
        components: colour channels.
        transformed: the encoder turned the first three channels into one of brightness and two of colour, and a decoder
            turns them back.
    """

    width: int
    height: int
    components: int
    transformed: bool


def jpeg2000_head(data: bytes) -> Jpeg2000Head | None:
    """Read the main header; None for data that have none, or only a part of it."""
    start = data.find(CODESTREAM, 0, MAX_BOXES)
    if start < 0:
        return None
    try:
        right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
        (components,) = struct.unpack_from(">H", data, start + 40)
        at = start + 2
        while True:
            marker, length = struct.unpack_from(">HH", data, at)
            if marker == COD:
                return Jpeg2000Head(right - left, bottom - top, components, data[at + 8] == 1)
            if marker == FIRST_TILE_PART or length < 2:
                return None
            at += 2 + length
    except (struct.error, IndexError):
        return None


def jpeg2000_loss(data: bytes) -> str:
    """What is missing of a JPEG 2000 codestream by the lengths of its tile parts, in words; "" for a whole one.

    A decoder fills what is missing with a coarser picture. An absent end marker alone is no loss.
    """
    start = data.find(CODESTREAM, 0, MAX_BOXES)
    at, parts = start + 2, 0
    while start >= 0 and at + 2 <= len(data):
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == END and parts:
            return ""
        if marker == FIRST_TILE_PART and at + 12 <= len(data):
            length = int.from_bytes(data[at + 6 : at + 10], "big") or len(data) - at  # 0: the rest is the last part
            parts += 1
        elif parts or marker >> 8 != 0xFF:
            return f"no tile part and no end at byte {at}, where one must be"
        else:
            length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 4 or at + length > len(data):
            return f"they end within the {'tile part' if parts else 'segment'} of {length} bytes at byte {at}"
        at += length
    return "" if parts else "no tile part"


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) px that a JPEG 2000, PNG or WebP picture gives itself; None where it says nothing readable."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):
        return None
    head = jpeg2000_head(data)
    return (head.width, head.height) if head else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
