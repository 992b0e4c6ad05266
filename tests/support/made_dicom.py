"""DICOM slides made for tests: tiled instances of compressed frames, in explicit little-endian elements."""

import struct
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

JPEG, JPEG_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"
SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
ROOT = "1.2.826.0.1.3680043.10.999"
LONG = ("OB", "SQ")
Encode = Callable[[NDArray[np.uint8]], bytes]


def element(group: int, number: int, kind: str, value: bytes | str | int | float) -> bytes:
    """One data element."""
    if kind == "US":
        data = struct.pack("<H", value)
    elif kind == "UL":
        data = struct.pack("<I", value)
    elif kind == "SL":
        data = struct.pack("<i", value)
    elif kind == "FL":
        data = struct.pack("<f", value)
    else:
        data = value if isinstance(value, bytes) else str(value).encode()
        data += (b"\0" if kind in ("UI", "OB") else b" ") * (len(data) % 2)
    length = struct.pack("<HI", 0, len(data)) if kind in LONG else struct.pack("<H", len(data))
    return struct.pack("<HH2s", group, number, kind.encode()) + length + data


def implicit_element(group: int, number: int, value: str) -> bytes:
    """One data element of text, whose kind of value is not told."""
    data = value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HHI", group, number, len(data)) + data


def sequence(group: int, number: int, items: bytes | list[bytes], ends: bool) -> bytes:
    """A sequence of items, or of one, with its length or (`ends`) with end marks."""
    items = [items] if isinstance(items, bytes) else items
    if not ends:
        value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
        return element(group, number, "SQ", value)
    start, end = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    return (
        struct.pack("<HH2sHI", group, number, b"SQ", 0, 0xFFFFFFFF)
        + b"".join(start + item + end for item in items)
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )


def write_instance(
    path: Path,
    image: NDArray[np.uint8],
    encode: Encode,
    syntax: str,
    photometric: str,
    *,
    mpp: float = 0.25,
    number: int = 1,
    series: str = "1",
    flavour: str = "VOLUME",
    tile: int = 256,
    ends: bool = False,
    absent: Collection[tuple[int, int]] | None = None,
) -> Path:
    """Write one level of a slide; `ends`: sequences with end marks in place of lengths.

    With `absent`, (row, column) of tiles that are left out, it is stored as TILED_SPARSE, its last frame first.
    """
    height, width = image.shape[:2]
    places = [(y, x) for y in range(0, height, tile) for x in range(0, width, tile)]
    if absent is not None:
        places = [(y, x) for y, x in places if (y // tile, x // tile) not in absent][::-1]
    frames = [encode(np.ascontiguousarray(image[y : y + tile, x : x + tile])) for y, x in places]
    positions = [
        sequence(0x0048, 0x021A, element(0x0048, 0x021E, "SL", x + 1) + element(0x0048, 0x021F, "SL", y + 1), ends)
        for y, x in places
    ]
    uid = f"{ROOT}.{series}.{number}"
    last = {"VOLUME": "NONE" if number == 1 else "RESAMPLED"}.get(flavour, "NONE")
    spacing = element(0x0028, 0x0030, "DS", f"{mpp / 1000:.10g}\\{mpp / 1000:.10g}")
    measures = sequence(0x0028, 0x9110, element(0x0018, 0x0050, "DS", "0.001") + spacing, ends)
    parts = [
        element(0x0008, 0x0008, "CS", f"{'ORIGINAL' if number == 1 else 'DERIVED'}\\PRIMARY\\{flavour}\\{last}"),
        element(0x0008, 0x0016, "UI", SLIDE_CLASS),
        element(0x0008, 0x0018, "UI", uid),
        element(0x0008, 0x0060, "CS", "SM"),
        element(0x0020, 0x000D, "UI", f"{ROOT}.{series}"),
        element(0x0020, 0x000E, "UI", f"{ROOT}.{series}.0"),
        element(0x0020, 0x0013, "IS", number),
        element(0x0020, 0x9311, "CS", "TILED_FULL" if absent is None else "TILED_SPARSE"),
        element(0x0028, 0x0002, "US", 3),
        element(0x0028, 0x0004, "CS", photometric),
        element(0x0028, 0x0006, "US", 0),
        element(0x0028, 0x0008, "IS", len(frames)),
        element(0x0028, 0x0010, "US", tile),
        element(0x0028, 0x0011, "US", tile),
        element(0x0028, 0x0100, "US", 8),
        element(0x0028, 0x0101, "US", 8),
        element(0x0028, 0x0102, "US", 7),
        element(0x0028, 0x0103, "US", 0),
        element(0x0048, 0x0001, "FL", width * mpp / 1000),
        element(0x0048, 0x0002, "FL", height * mpp / 1000),
        element(0x0048, 0x0006, "UL", width),
        element(0x0048, 0x0007, "UL", height),
        sequence(0x0048, 0x0105, element(0x0048, 0x0106, "SH", "1"), ends),
        element(0x0048, 0x0303, "UL", 1),
        sequence(0x5200, 0x9229, measures, ends),
        b"" if absent is None else sequence(0x5200, 0x9230, positions, ends),
        struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF),
        struct.pack("<HHI", 0xFFFE, 0xE000, 0),
    ]
    for frame in frames:
        frame += b"\0" * (len(frame) % 2)
        parts.append(struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame)
    parts.append(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    meta = (
        element(0x0002, 0x0001, "OB", b"\0\1")
        + element(0x0002, 0x0002, "UI", SLIDE_CLASS)
        + element(0x0002, 0x0003, "UI", uid)
        + element(0x0002, 0x0010, "UI", syntax)
        + element(0x0002, 0x0012, "UI", ROOT)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + element(0x0002, 0x0000, "UL", len(meta)) + meta + b"".join(parts))
    return path
