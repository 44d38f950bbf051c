"""What an untrusted image would cost its decoder, read from its headers before it is decoded.

Pillow bounds the pixels, and the text that a PNG unpacks. A few bytes can still ask for more: the scans of a JPEG, the
strips and tiles of a TIFF, the tiles, code blocks and packets of a JPEG 2000.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator
from math import ceil, prod
from typing import Any

MAX_READS = 100_000  # of one file: a header of more parts is refused, as is one that is read in circles
MAX_EXIF = 4 * 2**20  # bytes in all segments of a JPEG
MAX_SCANS = 200  # of a JPEG; encoders write about ten
MAX_SCANNED = 2**30  # pixels of all scans of a JPEG
MAX_PIECES = 2**17  # strips or tiles of a TIFF
MAX_TILES = 2**14  # of a JPEG 2000, times its components
MAX_BLOCKS = 2**20  # code blocks of a JPEG 2000
MAX_PACKETS = 2**22  # of a JPEG 2000
MANY_PARTS = f"its headers have too many parts; at most {MAX_READS:,} are read"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends the data of a scan
STRIPS, TILES, TILE_SIZE = (273, 279), (324, 325), (322, 323)  # tags of a TIFF


class TooCostly(ValueError):
    """An image whose decoding would take too much time or memory."""


class CountedBytes(io.BytesIO):
    """A file in memory; raises TooCostly after `most` reads, so that no header is parsed without end."""

    reads = 0

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.most = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > self.most:
            raise TooCostly(MANY_PARTS)
        return super().read(size)


def check_cost(data: bytes, max_pixels: int) -> None:
    """Raises TooCostly; damage is left to the decoder to find."""
    check = next((check for start, check in CHECKS if data.startswith(start)), None)
    if check:
        try:
            check(data, max_pixels)
        except (struct.error, IndexError):  # cut off
            return


def _check_jpeg(data: bytes, max_pixels: int) -> None:
    scans, pixels, exif = 0, 0, 0
    for marker, at in _segments(data):
        if marker == 0xE1 and data[at + 4 : at + 8] == b"Exif":
            exif += struct.unpack_from(">H", data, at + 2)[0]
        if exif > MAX_EXIF:  # Pillow joins the segments one by one, each time all of them
            raise TooCostly(f"more than {MAX_EXIF:,} bytes of EXIF data")
        if marker == 0xDA:
            scans += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame: height, width
            pixels = max(pixels, prod(struct.unpack_from(">HH", data, at + 5)))
        if scans > MAX_SCANS or scans * pixels > MAX_SCANNED:
            most = f"at most {MAX_SCANS} scans, of {MAX_SCANNED:,} pixels in all, are decoded"
            raise TooCostly(f"{scans:,} scans or more of {pixels:,} pixels; {most}")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, its place) of each segment of a JPEG up to the end of its image."""
    at = 2
    for _ in range(MAX_READS):
        found = MARKER.search(data, at)
        if not found or data[found.start() + 1] == 0xD9:
            return
        marker, at = data[found.start() + 1], found.start()
        yield marker, at
        at += 2 if marker in (0x01, 0xD8) else 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise TooCostly(MANY_PARTS)


def _check_tiff(data: bytes, max_pixels: int) -> None:
    """Of the first page, which is the one that is decoded."""
    order = "<" if data.startswith(b"II") else ">"
    big = 43 in data[2:4]
    count_form, entry_form, start = ("Q", "HHQ8s", 8) if big else ("H", "HHL4s", 4)
    (at,) = struct.unpack_from(order + ("Q" if big else "L"), data, start)
    (count,) = struct.unpack_from(order + count_form, data, at)
    at += struct.calcsize(count_form)
    size = [1, 1]
    for _ in range(min(count, MAX_READS)):
        tag, kind, n, value = struct.unpack_from(order + entry_form, data, at)
        at += struct.calcsize("<" + entry_form)
        if tag in (*STRIPS, *TILES) and n > MAX_PIECES:
            raise TooCostly(f"{n:,} strips or tiles; at most {MAX_PIECES:,} are decoded")
        if tag in TILE_SIZE:
            size[tag - TILE_SIZE[0]] = struct.unpack_from(order + ("H" if kind == 3 else "L"), value)[0]
    if prod(size) > max_pixels:
        raise TooCostly(f"tiles of {size[0]}x{size[1]} pixels; at most {max_pixels:,} are decoded")


def _check_jpeg_2000(data: bytes, max_pixels: int) -> None:
    at = _codestream(data)
    x1, y1, x0, y0, tile_w, tile_h, _, _, parts = struct.unpack_from(">8LH", data, at + 8)
    width, height = max(0, x1 - x0), max(0, y1 - y0)
    if width * height > max_pixels:
        raise TooCostly(f"{width}x{height} pixels; at most {max_pixels:,} are decoded")
    tiles = ceil(x1 / max(1, tile_w)) * ceil(y1 / max(1, tile_h))
    if tiles * parts > MAX_TILES:
        raise TooCostly(f"{tiles:,} tiles of {parts} components; at most {MAX_TILES:,} are decoded")
    area = max(width * height, 1) * parts
    for layers, levels, block, precinct in _codings(data, at + 2):
        if area / block > MAX_BLOCKS:
            raise TooCostly(f"code blocks of {block} pixels for {area:,} values; at most {MAX_BLOCKS:,} are decoded")
        packets = layers * parts * (tiles * (levels + 1) + area / parts / precinct)
        if packets > MAX_PACKETS:
            raise TooCostly(f"{int(packets):,} packets; at most {MAX_PACKETS:,} are decoded")


def _codestream(data: bytes) -> int:
    """Where the codestream starts: at the start of the file, or in a box of the type jp2c."""
    at = 0
    while data[at : at + 2] != b"\xff\x4f":
        length, kind = struct.unpack_from(">L4s", data, at)
        header = 8
        if length == 1:
            (length,), header = struct.unpack_from(">Q", data, at + 8), 16
        if kind == b"jp2c":
            return at + header
        if length < header:
            raise IndexError
        at += length
    return at


def _codings(data: bytes, at: int) -> Iterator[tuple[int, int, int, int]]:
    """(layers, levels, pixels of a code block, pixels of the smallest precinct) of each coding style, in the headers of
    the image and of its tiles; a style of one component has the layers of the last one of all components."""
    layers, tile_end = 1, 0
    for _ in range(MAX_READS):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFF90:  # a tile part begins
            (size,) = struct.unpack_from(">L", data, at + 6)
            tile_end = at + size if size else len(data)
        elif marker == 0xFF93:  # its data
            at = tile_end
            continue
        elif marker == 0xFFD9:
            return
        elif marker in (0xFF52, 0xFF53):
            if marker == 0xFF52:
                layers, start = struct.unpack_from(">H", data, at + 6)[0], at + 9
                has_precincts = data[at + 4] & 1
            else:  # of one component; its number has one byte where there are fewer than 257
                start, has_precincts = at + 6, data[at + 5] & 1
            levels, block = data[start], 2 ** ((data[start + 1] & 15) + (data[start + 2] & 15) + 4)
            sizes = data[start + 5 : at + 2 + length] if has_precincts else b""
            precinct = min((2 ** ((one & 15) + (one >> 4)) for one in sizes), default=2**30)
            yield layers, levels, block, precinct
        at += 2 + length
    raise TooCostly(MANY_PARTS)


CHECKS: tuple[tuple[bytes, Callable[[bytes, int], Any]], ...] = (
    (b"\xff\xd8", _check_jpeg),
    (b"II", _check_tiff),
    (b"MM", _check_tiff),
    (b"\xff\x4f\xff\x51", _check_jpeg_2000),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _check_jpeg_2000),
)
