"""Images that ask their decoder for very much, made from numbers, and what must come of each."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from torture._image_cases import COLOUR, EITHER, READ, REFUSED, SUFFIX, Case, Rng, encoded


def exif_storm(rng: Rng) -> Case:
    count, size = int(rng.integers(1000, 5000)), int(rng.integers(1, 60_000))
    entries = b"".join(struct.pack("<HHLL", 300 + tag, 7, size, 8) for tag in range(count))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + struct.pack("<L", 8)
    form = str(rng.choice(["PNG", "WEBP"]))
    return Case("EXIF storm", encoded(Image.new("RGB", (32, 24), COLOUR), form, exif=exif), SUFFIX[form], READ,
                (32, 24), COLOUR)  # fmt: skip


def many_segments(rng: Rng) -> Case:
    data = encoded(Image.new("RGB", (32, 24), COLOUR), "JPEG")
    segment = struct.pack(">BBH", 255, int(rng.choice([0xE1, 0xE2, 0xED, 0xFE])), 65535) + b"Exif\0\0" + bytes(65527)
    return Case("many segments", data[:2] + segment * int(rng.integers(20, 900)) + data[2:], ".jpg", EITHER)


def many_scans(rng: Rng) -> Case:
    data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).resize((4000, 3000)), "JPEG",
                   progressive=True)  # fmt: skip
    at = data.rindex(b"\xff\xda")
    scan = data[at : at + 60]  # cut off: each asks for a pass over all blocks
    return Case("many scans", data[:-2] + scan * int(rng.integers(300, 3000)) + data[-2:], ".jpg", REFUSED,
                reason="scans")  # fmt: skip


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def bomb(rng: Rng) -> Case:
    """Few bytes that claim very many pixels."""
    side = int(rng.integers(9000, 16_000))
    form = int(rng.integers(5))
    if form == 0:
        head = struct.pack(">LLBBBBB", side, side, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        return Case("bomb of pixels", data + chunk(b"IEND", b""), ".png", REFUSED, reason="oversized")
    if form == 1:
        data = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
        data += b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\0;"
        return Case("bomb of pixels", data, ".gif", REFUSED, reason="oversized")
    if form == 2:
        return Case("bomb of pixels", b"P5 %d %d 255 " % (side, side) + bytes(99), ".pgm", REFUSED, reason="oversized")
    if form == 3:
        data = b"BM" + struct.pack("<LLL", 200, 0, 54) + struct.pack("<LllHHLLllLL", 40, side, side, 1, 24, *[0] * 6)
        return Case("bomb of pixels", data + bytes(146), ".bmp", REFUSED, reason="oversized")
    data = bytearray(encoded(Image.new("RGB", (64, 64)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return Case("bomb of pixels", bytes(data), ".jpg", REFUSED, reason="oversized")


def file_bomb(rng: Rng) -> Case:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"\xff\xd8")
            file.truncate(2**27 + int(rng.integers(2**33)))  # sparse

    return Case("bomb of bytes", write, ".jpg", REFUSED, reason="oversized")


def text_bomb(rng: Rng) -> Case:
    """Texts, a colour profile or an EXIF block of a PNG that unpack to very many bytes."""
    packed = zlib.compress(bytes(60 * 2**20))
    kind = [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")][int(rng.integers(3))]
    data = encoded(Image.new("RGB", (32, 24), COLOUR), "PNG")
    texts = chunk(kind[0], kind[1] + packed) * int(rng.integers(1, 30))
    return Case("compressed text", data[:33] + texts + data[33:], ".png", EITHER)


def tiff(tags: dict[int, tuple[int, int]], data: bytes, next_page: int = 0) -> bytes:
    """A little-endian TIFF of one page; tags {number: (count, value)}."""
    entries = b"".join(struct.pack("<HHLL", tag, 4, n, value) for tag, (n, value) in sorted(tags.items()))
    return (
        b"II*\0"
        + struct.pack("<L", 8 + len(data))
        + data
        + struct.pack("<H", len(tags))
        + entries
        + struct.pack("<L", next_page)
    )


def cyclic_tiff(rng: Rng) -> Case:
    """Directories that name themselves as the next page, or as one inside."""
    pixels = bytes(COLOUR) * 600
    tags = {256: 30, 257: 20, 258: 8, 259: 1, 262: 2, 273: 8, 277: 3, 278: 20, 279: 1800}
    own = 8 + len(pixels)
    if rng.integers(2):
        tags |= {330: own, 34665: own, 34853: own}  # SubIFDs, EXIF, GPS
    return Case("cyclic TIFF", tiff({tag: (1, value) for tag, value in tags.items()}, pixels, own), ".tif", READ,
                (30, 20), COLOUR)  # fmt: skip


def hostile_tiff(rng: Rng) -> Case:
    """Random tags with random counts: tiles, strips, samples, compressions."""
    tags = {256: (1, 30), 257: (1, 20), 258: (1, 8), 259: (1, 1), 262: (1, 1), 273: (1, 8), 278: (1, 20), 279: (1, 600)}
    numbers = [
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        317,
        320,
        322,
        323,
        324,
        325,
        330,
        338,
        339,
        34675,
    ]
    for tag in rng.choice(numbers, int(rng.integers(1, 6))):
        count = int(rng.choice([1, 1, 1, 3, 1000, 10**6, 2**31]))
        tags[int(tag)] = count, int(rng.choice([0, 1, 2, 5, 7, 8, 16, 32773, 8000, 65535, 2**31, 2**32 - 1]))
    return Case("hostile TIFF", tiff(tags, rng.bytes(600)), ".tiff", EITHER)


def hostile_jpeg_2000(rng: Rng) -> Case:
    """Tiles, code blocks, layers and precincts that a few bytes can ask for."""
    data = bytearray(encoded(Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)), "JPEG2000", no_jp2=True))
    size, coding = data.index(b"\xff\x51"), data.index(b"\xff\x52")
    for _ in range(int(rng.integers(1, 4))):
        match int(rng.integers(5)):
            case 0:
                side = int(rng.integers(64, 8000))
                data[size + 6 : size + 14] = struct.pack(">LL", side, side)
            case 1:
                data[size + 22 : size + 30] = struct.pack(">LL", *rng.integers(1, 64, 2).tolist())
            case 2:
                data[coding + 6 : coding + 8] = struct.pack(">H", int(rng.integers(1, 65536)))
            case 3:
                data[coding + 9 : coding + 12] = bytes(rng.integers(0, 33, 3).tolist())
            case 4:
                data[size + 14 : size + 22] = struct.pack(">LL", *rng.integers(0, 2**31, 2).tolist())
    return Case("hostile JPEG 2000", bytes(data), ".j2k", EITHER)
