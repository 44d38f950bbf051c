"""Images of many formats and depths: what is read, what is refused before it costs much, and what is passed over."""

import io
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torture._image_cases import READ, REFUSED, Case
from torture.images import judge

import tandem.web
from tandem.data import image_io, image_limits
from tandem.data.image_io import FORMATS, SUFFIXES, BadImage, decode
from tandem.data.image_names import passed_over
from tandem.inference.image_folder import list_images

RAMP = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)  # of 16 bits
GREY = np.round(RAMP / 257).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(pixels: np.ndarray, white_is_zero=False, **tags: int) -> bytes:
    """An uncompressed grey TIFF with further tags, such as tag322=16."""
    order, data = ">" if pixels.dtype.byteorder == ">" else "<", pixels.tobytes()
    height, width = pixels.shape
    values = {256: width, 257: height, 258: 8 * pixels.itemsize, 259: 1, 262: int(not white_is_zero), 273: 8}
    values |= {277: 1, 278: height, 279: len(data)} | {int(tag[3:]): value for tag, value in tags.items()}
    entries = b"".join(struct.pack(order + "HHLL", tag, 4, 1, values[tag]) for tag in sorted(values))
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "L", 8 + len(data))
    return head + data + struct.pack(order + "H", len(values)) + entries + bytes(4)


def refused(data: bytes) -> str:
    with pytest.raises(BadImage) as error:
        decode(data)
    return str(error.value)


def test_every_format_is_read():
    pixels = np.kron(np.array([[0, 255], [128, 64]], np.uint8), np.ones((16, 16), np.uint8))
    for form in FORMATS:
        image = np.asarray(decode(encoded(Image.fromarray(pixels).convert("RGB"), form)))
        assert image.shape == (32, 32, 3), form
        assert np.abs(image[8::16, 8::16, 0].astype(int) - [[0, 255], [128, 64]]).max() <= 8, form


@pytest.mark.parametrize("form", [form for form in ("PNG", "TIFF", "PPM", "JPEG2000") if form in FORMATS])
def test_sixteen_bits_are_scaled_to_eight(form):
    image = np.asarray(decode(encoded(Image.fromarray(RAMP), form)))
    assert (image == GREY[:, :, None]).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_sixteen_bits_is_read_in_both_byte_orders_and_as_a_negative(order):
    assert (np.asarray(decode(tiff(RAMP.astype(order + "u2"))))[..., 0] == GREY).all()
    if order == "<":  # Pillow has no reader of the other
        assert (np.asarray(decode(tiff(RAMP, white_is_zero=True)))[..., 0] == 255 - GREY).all()


def test_pixels_of_32_bits_are_refused():
    assert refused(encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF")).startswith(
        "unreadable: pixels of 32 bits"
    )
    assert refused(encoded(Image.fromarray(RAMP.astype(np.int32) * 9), "TIFF")).startswith("unreadable: pixels of 32")


def test_of_several_pages_or_frames_the_first_is_read():
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for form in ("TIFF", "GIF", "WEBP", "PNG", "AVIF"):
        if form in FORMATS:
            r, _, b = np.asarray(decode(encoded(red, form, save_all=True, append_images=[blue]))).mean((0, 1))
            assert r > 240 > 15 > b, form


def test_transparent_pixels_of_a_palette_are_white_and_cmyk_is_converted():
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert decode(encoded(palette, "PNG", transparency=b"\xff\x00")).getpixel((4, 4)) == (255, 255, 255)
    for form in ("JPEG", "TIFF"):
        r, g, b = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), form)).getpixel((8, 8))
        assert r > 240 and max(g, b) < 15, form


# ---- what would cost too much


def test_a_jpeg_of_very_many_scans_is_refused_and_a_usual_one_is_not(monkeypatch):
    data = encoded(Image.fromarray(GREY).resize((64, 64)), "JPEG", progressive=True)
    assert decode(data).size == (64, 64)
    scan = data.rindex(b"\xff\xda")
    many = data[:scan] + data[scan:-2] * 300 + data[-2:]
    assert refused(many).startswith("oversized: 201 scans or more of 4,096 pixels")
    monkeypatch.setattr(image_limits, "MAX_SCANNED", 64 * 64 * 3)
    assert "4 scans or more" in refused(data)


def test_a_jpeg_with_marks_of_scans_in_its_thumbnail_or_behind_its_end_is_read():
    data = encoded(Image.fromarray(GREY), "JPEG")
    note = b"\xff\xda\0\x02" * 999
    assert decode(data[:2] + b"\xff\xe2" + struct.pack(">H", len(note) + 2) + note + data[2:] + note).size == (16, 16)


def test_a_tiff_of_huge_tiles_or_very_many_strips_is_refused():
    huge = tiff(GREY, tag322=30_000, tag323=30_000, tag324=8, tag325=256)
    assert refused(huge).startswith("oversized: tiles of 30000x30000 pixels")
    entry = struct.pack("<HHLL", 273, 4, 1, 8)
    assert refused(tiff(GREY).replace(entry, struct.pack("<HHLL", 273, 4, 10**6, 8))).startswith(
        "oversized: 1,000,000 strips or tiles"
    )


def test_headers_that_are_read_in_circles_end():
    for count in (10**9, 101_000):
        data = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, count) + bytes(20) * 101_000
        assert "too many parts" in refused(data) or count == 10**9
    jpeg = encoded(Image.fromarray(GREY), "JPEG")
    assert "too many parts" in refused(jpeg[:2] + b"\xff\xfe\0\x02" * 101_000 + jpeg[2:])
    png = encoded(Image.fromarray(GREY), "PNG")
    assert "too many parts" in refused(png[:33] + chunk(b"abCd", b"") * 100_000 + png[33:])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


@pytest.mark.skipif("JPEG2000" not in FORMATS, reason="this Pillow has no JPEG 2000")
def test_a_jpeg_2000_of_tiny_tiles_blocks_or_very_many_packets_is_refused(monkeypatch):
    data = encoded(Image.fromarray(GREY).resize((256, 256)), "JPEG2000", no_jp2=True)
    size, coding = data.index(b"\xff\x51"), data.index(b"\xff\x52")
    assert decode(data).size == (256, 256)

    def changed(at: int, form: str, *values: int) -> str:
        return refused(data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :])

    assert "65,536 tiles of 1 components" in changed(size + 22, ">LL", 1, 1)
    assert "pixels; at most 64,000,000" in changed(size + 6, ">LL", 2**20, 2**20)
    monkeypatch.setattr(image_limits, "MAX_PACKETS", 2**16)
    assert "packets; at most" in changed(coding + 6, ">H", 65535)
    monkeypatch.setattr(image_limits, "MAX_BLOCKS", 2**10)
    assert "code blocks of 16 pixels for 65,536 values" in changed(coding + 10, ">BB", 0, 0)
    boxed = encoded(Image.fromarray(GREY).resize((256, 256)), "JPEG2000")
    at = boxed.index(b"\xff\x4f\xff\x51") + 2
    assert "tiles of 1 components" in refused(boxed[: at + 22] + struct.pack(">LL", 1, 1) + boxed[at + 30 :])


def test_a_jpeg_of_very_many_exif_segments_is_refused_and_of_some_is_read():
    data = encoded(Image.fromarray(GREY), "JPEG")
    segment = b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527)
    assert decode(data[:2] + segment * 3 + data[2:]).size == (16, 16)
    assert refused(data[:2] + segment * 999 + data[2:]) == "oversized: more than 4,194,304 bytes of EXIF data"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_large_exif_block_costs_neither_the_image_nor_memory():
    photo = Image.new("RGB", (16, 8))
    entries = b"".join(struct.pack("<HHLL", tag, 7, 60_000, 8) for tag in range(5000))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries + bytes(4)
    tracemalloc.start()
    try:
        assert decode(encoded(photo, "PNG", exif=exif)).size == (16, 8)
        assert decode(encoded(photo, "PNG", exif=exif + bytes(2 * image_io.MAX_EXIF))).size == (16, 8)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def test_a_ppm_that_is_decoded_number_by_number_has_fewer_pixels():
    assert decode(b"P2 2 1 255 0 255").getpixel((1, 0)) == (255, 255, 255)
    assert decode(b"P6 1 1 100 \x64\0\0").getpixel((0, 0)) == (255, 0, 0)
    odd = decode(b"P6 400 300 1023 " + b"\3\xff" * 3 * 120_000)  # more pixels than reads of a header
    assert odd.size == (400, 300) and odd.getpixel((399, 299)) == (255, 255, 255)
    assert refused(b"P3 3000 3000 255 " + b"1 " * 99).startswith("oversized: 3000x3000 pixels as text")


def test_a_palette_of_lies_is_named_not_raised():
    assert refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").startswith("unreadable: 41 bytes that are not one of")
    assert refused(b"\0\0\0\x18ftypheic" + bytes(99)).startswith("unreadable")


# ---- what is passed over


def test_what_is_passed_over_is_counted_by_suffix(tmp_path):
    for name in ("a.png", "b.SVG", "c.svg", "d.heic", "e", ".hidden.svg", "f.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "again").symlink_to(tmp_path)
    images, note = list_images(tmp_path)
    assert images == ["a.png", "f.jpg"]
    first, second = note.split("\n")
    assert first.startswith("passed over: 2 .svg, 1 .heic, 1 without suffix; read are .avif, .bmp, ")
    assert first.endswith("; no reader of SVG and HEIC: save them as PNG or JPEG")
    assert second == "passed over: 'again', a link to a folder"
    assert passed_over(["a.jpg"]) == "" and "1 with another suffix" in passed_over(["a.\n"])


def test_a_folder_without_an_image_says_what_it_holds(tmp_path):
    (tmp_path / "a.svg").write_bytes(b"")
    with pytest.raises(ValueError, match="contains no image; passed over: 1 .svg; read are"):
        list_images(tmp_path)


def test_the_page_takes_the_suffixes_that_are_read():
    script = Path(tandem.web.__path__[0], "page", "files.js").read_text()
    pattern = re.compile(re.search(r"PHOTO = /(.*)/i;", script)[1])
    assert all(pattern.search(f"a{suffix}") for suffix in SUFFIXES) and not pattern.search("a.svg")


def test_the_campaign_of_images_names_a_wrong_outcome():
    read = {"size": [9, 9], "mean": [200, 0, 0], "cpu": 0.1, "mb": 1.0}
    red = Case("x", b"", ".png", READ, (9, 9), (200, 0, 0))
    assert judge("x", red, read) == []
    for changed, fault in (
        ({"size": [9, 8]}, "expected (9, 9)"),
        ({"mean": [0, 0, 0]}, "expected the colour"),
        ({"cpu": 99.0}, "more than"),
        ({"mb": 9999.0}, "more than"),
        ({"crash": "Traceback"}, "a traceback"),
    ):
        assert fault in judge("x", red, read | changed)[0]
    assert "expected to be refused" in judge("x", Case("x", b"", ".png", REFUSED), read)[0]
    refused = {"problem": "unreadable: no", "cpu": 0.1, "mb": 1.0}
    assert "expected to be read" in judge("x", red, refused)[0]
    assert "a reason with 'oversized'" in judge("x", Case("x", b"", ".png", REFUSED, reason="oversized"), refused)[0]
