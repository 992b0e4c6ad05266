"""What any strict decoder or directory check can see of a damaged slide, told without the project's own code.

Strict decoders: TurboJPEG that stops at its first warning, zlib, imagecodecs' LZW and OpenJPEG. The directory check
follows the TIFF 6.0 and BigTIFF specifications; a DICOM file is walked element by element (PS3.5).
"""

import struct
import zlib

import imagecodecs
import simplejpeg

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANAR, TILE_WIDTH, TILE_HEIGHT, OFFSETS, COUNTS, SUB_IFDS = (
    256, 257, 258, 259, 277, 284, 322, 323, 324, 325, 330,
)  # fmt: skip
NEEDED = (WIDTH, HEIGHT, BITS, COMPRESSION, 262, SAMPLES, TILE_WIDTH, TILE_HEIGHT, OFFSETS, COUNTS)
MOST_VALUES = 1_000_000
TYPES = {
    254: (4,), 256: (3, 4), 257: (3, 4), 258: (3,), 259: (3,), 262: (3,), 277: (3,), 282: (5,), 283: (5,), 284: (3,),
    296: (3,), 322: (3, 4), 323: (3, 4), 324: (4, 16), 325: (3, 4, 16), 330: (4, 13, 16, 18),
}  # fmt: skip
"""The types that TIFF 6.0 and BigTIFF give these tags."""


def complaints(data: bytes) -> list[str]:
    """What is wrong with a slide, in words; empty for one that only a comparison could find fault with."""
    if data[128:132] == b"DICM":
        return _dicom(data)
    try:
        return _tiff(data)
    except (struct.error, IndexError, KeyError, ValueError, OverflowError) as error:
        return [f"directory: {error!r}"]


def _tiff(data: bytes) -> list[str]:
    order = {b"II": "little", b"MM": "big"}.get(data[:2])
    if order is None:
        return ["header: no byte order"]

    def number(at: int, size: int) -> int:
        if at + size > len(data):
            raise ValueError(f"{at} lies beyond the file's {len(data)} bytes")
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    version = number(2, 2)
    if version not in (42, 43) or (version == 43 and (number(4, 2), number(6, 2)) != (8, 0)):
        return ["header: no TIFF version"]
    link_size, n_size, step = (8, 8, 20) if version == 43 else (4, 2, 12)
    waiting = [number(8 if version == 43 else 4, link_size)]
    seen: set[int] = set()
    listed: set[int] = set()  # sub-directories, which may be linked to each other as well
    found: list[dict[int, list[int]]] = []
    wrong: list[str] = []
    while waiting:
        start = waiting.pop(0)
        if start in seen:
            return ["directory: a link leads back"]
        seen.add(start)
        n = number(start, n_size)
        if not 0 < n < 4096:
            return [f"directory: {n} entries"]
        page: dict[int, list[int]] = {}
        last = -1
        for i in range(n):
            at = start + n_size + i * step
            tag, kind, count = number(at, 2), number(at + 2, 2), number(at + 4, link_size)
            if tag <= last:
                wrong.append(f"directory: tag {tag} out of order")
            last = tag
            if kind not in TYPES.get(tag, SIZES):
                wrong.append(f"directory: tag {tag} has a wrong type")
                continue
            size = SIZES[kind]
            place = at + 4 + link_size
            values_at = place if size * count <= link_size else number(place, link_size)
            if count > MOST_VALUES or values_at + size * count > len(data):
                wrong.append(f"directory: values of tag {tag} beyond the file")
                continue
            page[tag] = (
                [number(values_at + j * size, size) for j in range(count)] if kind in (1, 3, 4, 13, 16, 18) else []
            )
        waiting += page.get(SUB_IFDS, [])
        listed.update(page.get(SUB_IFDS, []))
        link = number(start + n_size + n * step, link_size)
        if link and not (start in listed and link in listed and link > start):
            waiting.append(link)
        found.append(page)
    for index, page in enumerate(found):
        wrong += [f"page {index}: {text}" for text in _page(data, page)]
    return wrong


def _page(data: bytes, page: dict[int, list[int]]) -> list[str]:
    missing = [tag for tag in NEEDED if not page.get(tag)]
    if missing:
        return [f"no tags {missing}"]
    width, height, tile_width, tile_height = (page[tag][0] for tag in (WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT))
    samples = page[SAMPLES][0]
    if set(page[BITS]) != {8} or samples != 3 or page.get(PLANAR, [1]) != [1] or len(page[BITS]) != samples:
        return ["not three channels of 8 bits in one plane"]
    if not (width and height and tile_width and tile_height) or tile_width % 16 or tile_height % 16:
        return ["an impossible size"]
    n = -(-width // tile_width) * -(-height // tile_height)
    offsets, counts = page[OFFSETS], page[COUNTS]
    if not len(offsets) == len(counts) == n:
        return [f"{len(offsets)} offsets and {len(counts)} counts of {n} tiles"]
    wrong = []
    ends = 0
    for offset, count in sorted(set(zip(offsets, counts, strict=True))):
        if (offset == 0) != (count == 0):
            wrong.append("offset without bytes, or bytes without offset")
        if count and offset < ends:
            wrong.append("tiles lie over each other")
        ends = max(ends, offset + count)
        if offset + count > len(data):
            wrong.append("a tile beyond the file")
            continue
        tables = bytes(page[347]) if page.get(347) else b""
        text = count and tile_complaint(
            page[COMPRESSION][0], data[offset : offset + count], (tile_width, tile_height), tables
        )
        if text:
            wrong.append(text)
    return wrong


def tile_complaint(compression: int, data: bytes, size: tuple[int, int], tables: bytes = b"") -> str:
    """What a strict decoder says of one compressed tile of 8-bit RGB; "" for nothing."""
    whole = size[0] * size[1] * 3
    try:
        if compression == 7:
            stream = data[:2] + tables[2:-2] + data[2:] if tables else data
            if simplejpeg.decode_jpeg(stream, strict=True).shape != (size[1], size[0], 3):
                return "JPEG of another size"
            if b"\xff\xc0" in data[:1000] and _gray(data):
                return "JPEG of another number of channels"
        elif compression in (8, 32946):
            if len(zlib.decompress(data)) != whole:
                return "deflate data of another length"
        elif compression == 5:
            if len(imagecodecs.lzw_decode(data, out=whole + 1)) != whole:
                return "LZW data of another length"
        elif compression == 34712:
            if imagecodecs.jpeg2k_decode(data).shape != (size[1], size[0], 3):
                return "JPEG 2000 of another size"
        elif compression == 1 and len(data) != whole:
            return "pixels of another length"
        elif compression not in (1, 5, 7, 8, 32946, 34712):
            return f"compression {compression}"
    except Exception as error:  # whatever a decoder says
        return f"decoder: {error}"
    return ""


def _gray(data: bytes) -> bool:
    """Whether a baseline JPEG has not three channels."""
    at = data.index(b"\xff\xc0")
    return data[at + 9] != 3


def _dicom(data: bytes) -> list[str]:
    try:
        return _elements(data)
    except (struct.error, ValueError, IndexError) as error:
        return [f"elements: {error!r}"]


def _elements(data: bytes) -> list[str]:
    at, last = 132, (0, 0)
    values: dict[tuple[int, int], bytes] = {}
    while True:
        group, element, kind = struct.unpack_from("<HH2s", data, at)
        long = kind in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR")
        (length,) = struct.unpack_from("<I", data, at + 8) if long else struct.unpack_from("<H", data, at + 6)
        at += 12 if long else 8
        if (group, element) <= last:
            return [f"elements: ({group:04x},{element:04x}) out of order"]
        if not kind.isalpha() or not kind.isupper():
            return [f"elements: no kind of ({group:04x},{element:04x})"]
        last = (group, element)
        if last == (0x7FE0, 0x0010):
            break
        if at + length > len(data):
            return [f"elements: ({group:04x},{element:04x}) beyond the file"]
        values[last] = data[at : at + length]
        at += length
    rows, columns = (int.from_bytes(values[0x0028, number], "little") for number in (0x0010, 0x0011))
    wrong = []
    frames = 0
    first = True
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8
        if at + length > len(data):
            return ["frames: one beyond the file"]
        if not first:
            frames += 1
            if text := tile_complaint(7, data[at : at + length], (columns, rows)):
                wrong.append(text)
        first = False
        at += length
    if data[at : at + 4] != b"\xfe\xff\xdd\xe0":
        wrong.append("frames: no end")
    if str(frames) != values[0x0028, 0x0008].decode("ascii", "replace").strip():
        wrong.append(f"frames: {frames} in place of {values[0x0028, 0x0008]!r}")
    return wrong
