"""JPEG data decoded by a decoder that forgives nothing: a tile that lost part of its data is an error, never grey.

libjpeg fills what is missing, and only warns. Here every warning ends the decoding, but for those in `BENIGN`, whose
cause is taken out of the stream first. Marker codes and segments: ITU-T T.81 (1992), annex B.
"""

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

SOI, EOI, RST, SOS, DQT, DHT = 0xD8, 0xD9, range(0xD0, 0xD8), 0xDA, 0xDB, 0xC4
APPLICATION = range(0xE0, 0xF0)
COMMENT = 0xFE
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
MAX_SCANS = 500  # of a real progressive picture some ten; a stream of thousands is made to keep a reader busy
AFTER_ENTROPY = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker that ends a scan's data

BENIGN = {
    "application": (
        "Application segments and comments are left out: an odd JFIF version, an unknown Adobe transform, a broken"
        " colour profile or thumbnail. No pixel hangs on them; the colour space is the TIFF tags' word."
    ),
    "no end": (
        "The end marker is absent and every block is there. Missing blocks stay an error: an end marker is put behind"
        " the data, and a decoder that needs more finds it too early."
    ),
    "behind the end": "Bytes behind the end marker, as writers pad to even lengths, are never read.",
    "scan parameters": (
        "A sequential scan says that it holds not all 64 frequencies, as some writers of all zeroes do (libjpeg's"
        " jdhuff.c): the decoder takes all, and so it is told."
    ),
}
"""Warnings of libjpeg that leave every pixel as it was written, each with its reason. All others are damage."""


class TileDamageError(ValueError):
    """Compressed data that cannot give a tile's pixels; the message says what is wrong with them, not where."""


class OtherSizeError(TileDamageError):
    """The data are a picture of another size than was asked for."""


class Segment(NamedTuple):
    """One marker segment: its code, where the marker and where its parameters begin, and where it ends."""

    code: int
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class JpegHead:
    """What stands before the first scan's data.

    Attributes:
        width: px.
        height: px.
        channels: the numbers by which scans name the colour channels.
        frame: code of the frame header, which tells the process (baseline, progressive, …).
        kept: the segments that decoding needs, without application segments and comments.
        scan: the first scan's header.
    """

    width: int
    height: int
    channels: bytes
    frame: int
    kept: bytes
    scan: Segment

    @property
    def components(self) -> int:
        """How many colour channels there are."""
        return len(self.channels)


def decode_jpeg(data: bytes, tables: bytes | None, rgb: bool, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode a tile of three channels.

    Args:
        data: the compressed tile.
        tables: an abbreviated stream with the tables that tiles share, or None.
        rgb: True where the stored channels are red, green and blue; False for YCbCr.
        size: (width, height) that it must have, px.

    Returns:
        uint8 [height, width, 3], RGB; the pixels of libjpeg's accurate transform and smooth upsampling.

    Raises:
        OtherSizeError: a whole picture of another size, perhaps.
        TileDamageError: data are missing or contradict themselves, or there are not three channels.
    """
    head = read_head(data)
    if head.components != 3:
        raise TileDamageError(f"{head.components} channels in place of 3")
    if (head.width, head.height) != size:
        raise OtherSizeError(f"{head.width} x {head.height} px in place of {size[0]} x {size[1]}")
    return _decode(head, data, tables, rgb)


def check_jpeg(
    data: bytes, tables: bytes | None, components: int, least: tuple[int, int], most: tuple[int, int]
) -> None:
    """Refuse JPEG data that cannot give all pixels of a tile; arguments as `decode_jpeg`.

    Args:
        data: the compressed tile.
        tables: as there.
        components: channels that it must have.
        least: (width, height) px that it must have at least: the part of the tile inside the image.
        most: (width, height) of a whole tile.

    Raises:
        TileDamageError: as there.
    """
    head = read_head(data)
    if head.components != components:
        raise TileDamageError(f"{head.components} channels in place of {components}")
    if not (least[0] <= head.width <= most[0] and least[1] <= head.height <= most[1]):
        raise OtherSizeError(f"{head.width} x {head.height} px in place of {most[0]} x {most[1]}")
    _decode(head, data, tables, rgb=False)


def read_head(data: bytes) -> JpegHead:
    """Walk to the first scan.

    Raises:
        TileDamageError: it is not there, or the way is barred.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] != SOI:
        raise TileDamageError("they do not begin as JPEG does")
    kept = bytearray()
    frame: Segment | None = None
    at = 2
    while True:
        segment = _segment(data, at)
        if segment.code in FRAMES:
            if frame is not None:
                raise TileDamageError("two frame headers")
            frame = segment
        if segment.code == SOS:
            break
        if segment.code not in APPLICATION and segment.code != COMMENT:
            kept += data[segment.start : segment.end]
        at = segment.end
    if frame is None:
        raise TileDamageError("no frame header before the first scan")
    if frame.end - frame.body < 6:
        raise TileDamageError("a frame header that is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", data, frame.body)
    if precision != 8:
        raise TileDamageError(f"{precision} bits a channel in place of 8")
    if frame.end - frame.body != 6 + 3 * components:
        raise TileDamageError("a frame header that contradicts its own length")
    channels = data[frame.body + 6 : frame.end : 3]
    return JpegHead(width, height, channels, frame.code, bytes(kept), segment)


def _segment(data: bytes, at: int) -> Segment:
    """The marker segment at a place where one must be; fill bytes before it are allowed (T.81 B.1.1.2)."""
    start = at
    while start + 1 < len(data) and data[start] == data[start + 1] == 0xFF:
        start += 1
    if start + 4 > len(data):
        raise TileDamageError("they end within the header")
    code = data[start + 1]
    if data[start] != 0xFF or code in (0x00, 0x01, SOI, EOI) or code in RST:
        raise TileDamageError(f"no marker segment at byte {at} of the header")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    if length < 2:
        raise TileDamageError(f"a marker segment of {length} bytes at byte {start} of the header")
    if start + 2 + length > len(data):
        raise TileDamageError("they end within the header")
    return Segment(code, start, start + 4, start + 2 + length)


def _decode(head: JpegHead, data: bytes, tables: bytes | None, rgb: bool) -> NDArray[np.uint8]:
    """Decode strictly what `read_head` found; 3 channels become RGB, others stay as they are."""
    scan = data[head.scan.start : head.scan.end]
    n_channels = scan[4]
    if n_channels < 1 or len(scan) != 8 + 2 * n_channels:
        raise TileDamageError("a scan header that contradicts its own length")
    if head.frame in SEQUENTIAL:
        scan = scan[:-3] + b"\x00\x3f\x00"
    if head.frame == PROGRESSIVE or n_channels != head.components:
        _check_scans(head, data)
    shared = _shared(tables) if tables else b""
    _check_quantisation(shared + head.kept)
    # Adobe's segment is what tells the decoder which of the two colour spaces is stored.
    colours = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([0 if rgb else 1])
    stream = b"".join(
        (
            b"\xff\xd8",
            shared,
            colours if head.components == 3 else b"",
            head.kept,
            scan,
            data[head.scan.end :],
            b"\xff\xd9",
        )
    )
    space = {1: "GRAY", 4: "CMYK"}.get(head.components, "RGB")
    try:
        result: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            stream, space, fastdct=False, fastupsample=False, strict=True
        )
    except ValueError as error:
        raise TileDamageError(str(error)) from None
    return result


def _shared(tables: bytes) -> bytes:
    """The quantisation and Huffman tables of an abbreviated stream; what else it says a picture begins anew."""
    if len(tables) < 4 or tables[0] != 0xFF or tables[1] != SOI:
        raise TileDamageError("the tables that the tiles share do not begin as JPEG does")
    kept = bytearray()
    at = 2
    while tables[at : at + 2] not in (b"\xff\xd9", b""):
        segment = _segment(tables, at)
        if segment.code in (DQT, DHT):
            kept += tables[segment.start : segment.end]
        at = segment.end
    return bytes(kept)


def _check_quantisation(segments: bytes) -> None:
    """Refuse a quantisation table in use that holds a zero (T.81 B.2.4.1 begins at 1), which takes frequencies away."""
    zero: dict[int, bool] = {}
    used = b""
    at = 0
    while at < len(segments):
        segment = _segment(segments, at)
        if segment.code in FRAMES:
            used = segments[segment.body + 8 : segment.end : 3]
        place = segment.body if segment.code == DQT else segment.end
        while place < segment.end:
            width = 1 + (segments[place] >> 4)  # bytes a value
            values = segments[place + 1 : min(place + 1 + 64 * width, segment.end)]
            zeros = (values[i : i + width] == bytes(width) for i in range(0, len(values), width))
            zero[segments[place] & 15] = any(zeros)
            place += 1 + 64 * width
        at = segment.end
    if any(zero.get(table, False) for table in used):
        raise TileDamageError("a quantisation table that holds a zero")


def _check_scans(head: JpegHead, data: bytes) -> None:
    """Refuse a picture in several scans of which some are absent: a decoder shows a coarse or greyish one instead.

    Every channel must have a sequential scan, or each of its 64 frequencies down to the last bit (T.81 G.1.1.1).
    """
    missing = {channel: [1] * 64 for channel in head.channels}  # of each frequency the lowest bit that has come
    segment, n_scans = head.scan, 0
    while True:
        if segment.code == SOS:
            n_scans += 1
            if n_scans > MAX_SCANS:
                raise TileDamageError(f"more than {MAX_SCANS} scans")
            _note_scan(data[segment.body : segment.end], head.frame, missing)
        found = AFTER_ENTROPY.search(data, segment.end)
        if found is None or data[found.start() + 1] == EOI:
            break
        segment = _segment(data, found.start())
    absent = sum(any(bits) for bits in missing.values())
    if absent:
        raise TileDamageError(f"scans are missing: {absent} of {head.components} channels are not whole")


def _note_scan(scan: bytes, frame: int, missing: dict[int, list[int]]) -> None:
    """Note in `missing` what one scan header brings."""
    n = scan[0] if scan else 0
    if n < 1 or len(scan) != 4 + 2 * n:
        raise TileDamageError("a scan header that contradicts its own length")
    first, last, bits = (0, 63, 0) if frame in SEQUENTIAL else (scan[-3], scan[-2], scan[-1] & 15)
    for channel in scan[1 : 1 + 2 * n : 2]:
        if channel not in missing or not first <= last < 64:
            raise TileDamageError("a scan of what the frame header does not name")
        missing[channel][first : last + 1] = [bits] * (last + 1 - first)
