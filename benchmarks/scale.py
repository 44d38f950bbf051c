"""Seconds and peak memory of each stage on simulated competitions of up to a million rows, and how they grow.

There are no photos: the folder of images holds empty files, and the cache of the scan is filled as a finished scan
leaves it, with thumbnails as spread as those of photos. Each stage runs in a process of its own, after those whose
files it reads. Beside its seconds stand those that it needs at least: to read its files at the disk's measured rate and
to multiply at the processor's. An exponent of 1 means twice the time for twice the rows; it is taken from the processor
time of the two largest sizes of 18 labels, so that other programs do not count.

10,000 and 30,000 rows take about a minute; LONG=1 measures up to 1,000,000 rows of 18 labels, and 20,000 of 1,103.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from at_scale import data_stages, model_stages
from at_scale.stage import COMP, Size, Stage

from tandem.artifacts.paths import Paths

STAGES: list[Stage] = [*data_stages.BEFORE_TRAINING, *model_stages.MODELS, *data_stages.AFTER_TRAINING]
QUICK = (Size(10_000, 18), Size(30_000, 18))
LONG = (Size(10_000, 18), Size(100_000, 18), Size(1_000_000, 18), Size(20_000, 1_103))
MILLION = 1_000_000


def peak_bytes() -> int:
    """The largest memory of this process so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/self/status has no line VmHWM; the benchmark runs on Linux only")


def measure(stage: Stage, paths: Paths, size: Size) -> dict[str, float]:
    """In this process: seconds, processor seconds and peak memory of a stage, and the bytes of the files it reads."""
    read = sum(file.stat().st_size for file in stage.files(paths))
    start, processor = time.perf_counter(), time.process_time()
    stage.run(paths, size)
    found = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    return found | {"peak": peak_bytes(), "read": read}


def in_new_process(action: str, stage: Stage, root: Path, size: Size) -> dict[str, float]:
    """`measure`, or what prepares it; what the stage prints is shown where it fails."""
    command = [sys.executable, __file__, "--do", action, stage.name, str(root), str(size.rows), str(size.labels)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{stage.name}, {size}: failed\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def do(action: str, name: str, root: str, rows: str, labels: str) -> None:
    stage = next(stage for stage in STAGES if stage.name == name)
    paths, size = Paths(COMP, Path(root)), Size(int(rows), int(labels))
    os.chdir(root)
    if action == "prepare" and stage.prepare:
        stage.prepare(paths, size)
    print("\n" + json.dumps(measure(stage, paths, size) if action == "measure" else {}))


def disk_rate(folder: Path, mb: int = 256) -> float:
    """Bytes a second that are read of a file that is not in memory."""
    file = folder / "rate"
    file.write_bytes(os.urandom(2**20) * mb)
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        while opened.read(2**22):
            pass
        seconds = time.perf_counter() - start
    file.unlink()
    return mb * 2**20 / seconds


def multiplication_rate(side: int = 2048) -> float:
    """Multiplications a second in a product of two matrices of float32."""
    matrix = np.ones((side, side), np.float32)
    matrix @ matrix
    start = time.perf_counter()
    matrix @ matrix
    return side**3 / (time.perf_counter() - start)


def exponent(small: tuple[Size, float], large: tuple[Size, float]) -> float:
    return math.log(max(large[1], 1e-3) / max(small[1], 1e-3)) / math.log(large[0].rows / small[0].rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--do", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, nargs="+", help="sizes of 18 labels instead of the usual ones")
    parser.add_argument(
        "--stages", nargs="+", choices=[stage.name for stage in STAGES], help="only these and what they need"
    )
    parser.add_argument("--folder", help="where the competitions are made; default: the folder for temporary files")
    args = parser.parse_args()
    if args.do:
        do(*args.do)
        return
    sizes = [Size(n, 18) for n in args.rows] if args.rows else LONG if os.environ.get("LONG") == "1" else QUICK
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure_all(Path(folder), sizes, args.stages or [stage.name for stage in STAGES])


def measure_all(folder: Path, sizes: list[Size] | tuple[Size, ...], wanted: list[str]) -> None:
    """Prints a line for each stage and size, and the figures."""
    disk, processor = disk_rate(folder), multiplication_rate()
    print(f"disk: {disk / 2**20:,.0f} MiB/s; processor: {processor / 1e9:,.0f} billion multiplications/s")
    print("| stage | rows x labels | seconds | of the processor | at least | peak GiB |")
    print("|---|---|---|---|---|---|")
    measured: dict[str, list[tuple[Size, float]]] = {}
    peaks: dict[str, float] = {}
    for size in sizes:
        root = folder / f"{size.rows}x{size.labels}"
        root.mkdir()
        for stage in STAGES:
            if stage.prepare:
                in_new_process("prepare", stage, root, size)
            if stage.name not in wanted and not stage.needed:
                continue
            found = in_new_process("measure", stage, root, size)
            floor = found["read"] / disk + stage.multiplications(size) / processor
            peak = found["peak"] / 2**30
            cells = f"{found['seconds']:.1f} | {found['processor']:.1f} | {floor:.2f} | {peak:.2f}"
            print(f"| {stage.name} | {size} | {cells} |", flush=True)
            if size.labels == 18:
                measured.setdefault(stage.name, []).append((size, found["processor"]))
            if size.rows == MILLION:
                peaks[stage.name] = peak
    for name, (*_, small, large) in ((name, each) for name, each in measured.items() if len(each) > 1):
        print(f"rows_exponent_{name}: {exponent(small, large):.2f}")
    if peaks:
        print(f"peak_gb_1m: {max(peaks.values()):.2f} GiB ({max(peaks, key=lambda name: peaks[name])})")


if __name__ == "__main__":
    main()
