"""Archives that would write outside, fill memory or disk, or put one file over another; and damaged ones."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

NAMES = ("../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "C:/evil.txt", "a\\..\\evil.txt", "con", "a/aux.jpg",
         "lpt1.txt", "a./b.txt", "b.txt ", "b.txt:evil", "a\nb.txt", "a\x7fb", "e\u202ejpg.exe", "x" * 300,
         "d/" * 200 + "x", "TRAIN.CSV", "train.csv/x", "\udc80")  # fmt: skip
TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
MODES = ("w", "w:gz", "w:bz2", "w:xz")
Entry = tuple[str | zipfile.ZipInfo, bytes]
Made = tuple[bytes, str, str]  # content, name, "read" | "refused" | "either"


def zipped(entries: Sequence[Entry]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(info, content)
    return out.getvalue()


def tarred(entries: Sequence[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as opened:  # type: ignore[call-overload]
        for info, content in entries:
            info.size = len(content) if info.isreg() else 0
            opened.addfile(info, io.BytesIO(content))
    return out.getvalue()


def file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


PLAIN = [("train.csv", b"id,labels\n1,a\n"), ("data/1.jpg", bytes(range(256)) * 20)]


def intact(rng: np.random.Generator) -> Made:
    if rng.integers(2):
        return zipped(PLAIN), "a.zip", "read"
    return tarred([file(*entry) for entry in PLAIN], str(rng.choice(MODES))), "a.tar", "read"


def bad_name(rng: np.random.Generator) -> Made:
    name = NAMES[rng.integers(len(NAMES))]
    if rng.integers(2) and "\udc80" not in name:
        return zipped([PLAIN[0], (name, b"evil")]), "a.zip", "refused"
    mode = str(rng.choice(MODES[:2]))
    return tarred([file(*PLAIN[0]), file(name, b"evil")], mode), "a.tar.gz", "refused"


def link(rng: np.random.Generator) -> Made:
    """A link to a folder outside, and a file through it."""
    if rng.integers(4) == 0:
        info = zipfile.ZipInfo("data")
        info.external_attr = 0o120777 << 16
        return zipped([PLAIN[0], (info, b"/tmp"), ("data/evil.txt", b"evil")]), "a.zip", "refused"
    info = tarfile.TarInfo("data")
    info.type, info.linkname = TYPES[rng.integers(len(TYPES))], str(rng.choice(["/etc/passwd", "..", "train.csv"]))
    return tarred([file(*PLAIN[0]), (info, b""), file("data/evil.txt")], "w:gz"), "a.tar.gz", "refused"


def bomb(rng: np.random.Generator) -> Made:
    """A little that unpacks to much: one file, one file in an archive inside, or a name as long."""
    size, kind = int(rng.integers(100, 160)) * 2**20, int(rng.integers(5))
    if kind == 0:
        return zipped([PLAIN[0], ("a.bin", bytes(size))]), "a.zip", "refused"
    if kind == 1:
        return zipped([PLAIN[0], ("b.zip", zipped([("a.bin", bytes(size))]))]), "a.zip", "refused"
    opener: Callable[[bytes], bytes] = (gzip.compress, bz2.compress, lzma.compress)[kind - 2]
    if rng.integers(2):
        return opener(bytes(size)), f"a.csv{('.gz', '.bz2', '.xz')[kind - 2]}", "refused"
    info = tarfile.TarInfo("x")
    info.type, info.size = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)[rng.integers(2)], size
    return opener(info.tobuf(tarfile.GNU_FORMAT) + bytes(size)), "a.tar.gz", "refused"


def many(rng: np.random.Generator) -> Made:
    """More members than an archive of its size may have, most of them folders."""
    block = tarfile.TarInfo("d")
    block.type = (tarfile.DIRTYPE, tarfile.REGTYPE)[rng.integers(2)]
    return gzip.compress(block.tobuf() * 250_000, 1), "a.tar.gz", "refused"


def wrong_sizes(rng: np.random.Generator) -> Made:
    """A negative size in a tar file, or sizes in a zip that are not those of its files."""
    if rng.integers(2):
        info = tarfile.TarInfo("train.csv")
        info.size = -int(rng.integers(1, 2**40))
        return info.tobuf(tarfile.GNU_FORMAT) + bytes(10240), "a.tar", "refused"
    content = bytearray(zipped(PLAIN))
    at = content.rindex(b"PK\x01\x02")
    field = int(rng.choice([20, 24, 42]))  # compressed size, size, offset of the header
    content[at + field : at + field + 4] = struct.pack("<I", int(rng.integers(1, 2**32)))
    return bytes(content), "a.zip", "either" if field == 20 else "refused"  # deflate knows its own end


def overlapping(rng: np.random.Generator) -> Made:
    """Many members of a zip whose content is one and the same part of the file."""
    del rng
    content = zipped([("a", bytes(8 * 2**20))])
    begin = content.index(b"PK\x01\x02")
    entry, names = content[begin : content.index(b"PK\x05\x06")], 60
    directory = entry * names
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, names, names, len(directory), begin, 0)
    return content[:begin] + directory + end, "a.zip", "refused"


def encrypted(rng: np.random.Generator) -> Made:
    content = bytearray(zipped(PLAIN))
    content[content.index(b"PK\x01\x02") + 8] |= (1, 0x41)[rng.integers(2)]
    return bytes(content), "a.zip", "refused"


def slip_inside(rng: np.random.Generator) -> Made:
    """An archive inside that leaves its folder, or replaces a file beside it."""
    name = ("../evil.txt", "../../evil.txt", "train.csv")[rng.integers(3)]
    inner = zipped([(name, b"evil")]) if name.startswith(".") else zipped([("x/1.jpg", b"1"), ("x", b"evil")])
    return zipped([PLAIN[0], ("data/b.zip", inner)]), "a.zip", "refused"


def damaged(rng: np.random.Generator) -> Made:
    """Some bytes changed, or cut off."""
    content, name, _ = intact(rng)
    changed = bytearray(content)
    if rng.integers(3) == 0:
        return bytes(changed[: rng.integers(len(changed))]), name, "either"
    for at in rng.integers(0, len(changed), rng.integers(1, 5)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed), name, "either"


KINDS = (
    intact,
    bad_name,
    link,
    damaged,
    wrong_sizes,
    encrypted,
    slip_inside,
    bomb,
    bad_name,
    damaged,
    many,
    overlapping,
)


def make(path: Path, number: int, rng: np.random.Generator) -> tuple[Path, str]:
    """(the archive, what must become of it)."""
    content, name, must = KINDS[number % len(KINDS)](rng)
    path.mkdir(parents=True)
    (path / name).write_bytes(content)
    return path / name, must
