"""Broken and odd images in a folder: each is labelled, or listed with the reason, in little time and memory.

A folder of some hundred files is read by a child process with a limit of memory; a file that takes too long, or ends
the process, is a fault, and the next process goes on behind it. What must come of a file is known from its making.
"""

import csv
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torture import _image_attacks as attacks
from torture import _image_cases as cases
from torture._image_cases import EITHER, READ, Case
from torture.campaign import Outcome, Task

QUICK, LONG = 90, 1800
BATCH = 300  # files of one folder
CPU_S, MEMORY_MB, HANG_S = 8.0, 600, 90.0  # of one image; wall time until it counts as a hang
ADDRESS_MB = 3000  # of the process, its libraries too
CLOSE = 12  # of a mean colour

MAKERS: tuple[Callable[[np.random.Generator], Case], ...] = (
    cases.intact,
    cases.truncated,
    cases.flipped,
    cases.wrong_suffix,
    cases.header_only,
    cases.spliced,
    cases.no_file,
    cases.animated,
    attacks.bomb,
    cases.sixteen_bits,
    cases.odd_name,
    cases.cmyk,
    attacks.hostile_tiff,
    cases.palette_alpha,
    cases.upright,
    attacks.exif_storm,
    attacks.many_segments,
    cases.flipped,
    cases.empty,
    cases.long_and_thin,
    attacks.text_bomb,
    attacks.cyclic_tiff,
    attacks.hostile_jpeg_2000,
    cases.other_format,
    cases.folder,
    cases.noise,
    cases.trailing,
    attacks.file_bomb,
    attacks.many_scans,
    cases.truncated,
)


def make_case(seed: int, number: int) -> Case:
    return MAKERS[number % len(MAKERS)](np.random.default_rng([seed, number]))


def write_case(case: Case, folder: Path, number: int) -> str:
    """Writes the file; its name."""
    name = f"{case.stem}{number:05d}{case.suffix}" if case.stem else f"{number:05d}{case.suffix}"
    path = folder / name
    if callable(case.content):
        case.content(path)
    else:
        path.write_bytes(case.content)
    return name


def run(task: Task) -> Outcome:
    outcome, batch = Outcome(), dict[int, Case]()
    worst = {"slowest_s": 0.0, "largest_mb": 0.0}
    counts = {"read": 0, "refused": 0, "passed_over": 0}
    for number in task.numbers():
        batch[number] = make_case(task.seed, number)
        if len(batch) == BATCH:
            try_batch(task.folder / f"batch{number}", batch, outcome, worst, counts)
            batch = {}
    if batch:
        try_batch(task.folder / "last", batch, outcome, worst, counts)
    outcome.figures = {name: f"{value:.1f}" for name, value in worst.items()}
    outcome.figures |= {name: str(n) for name, n in counts.items()}
    return outcome


def try_batch(
    folder: Path, batch: Mapping[int, Case], outcome: Outcome, worst: dict[str, float], counts: dict[str, int]
) -> None:
    """Adds the faults of one folder, and what the files cost."""
    folder.mkdir()
    made = {write_case(case, folder, number): case for number, case in batch.items()}
    before, rows = sorted(os.listdir(folder)), folder.with_suffix(".csv")
    expected = sorted(name for name, case in made.items() if case.listed)
    found, listed, note = read_folder(folder, rows, outcome)
    outcome.tries += len(made)
    if listed != expected:
        outcome.faults.append(f"listed {sorted(set(listed) ^ set(expected))[:3]} unlike what is there")
    for name, case in made.items():
        if not case.listed:
            counts["passed_over"] += 1
            if case.suffix != ".jpg" and (case.suffix or "without suffix") not in note:
                outcome.faults.append(f"{name!r}: not named among what is passed over: {note}")
        elif name in found:
            outcome.faults += judge(name, case, found[name])
            counts["read" if "size" in found[name] else "refused"] += 1
            worst["slowest_s"] = max(worst["slowest_s"], found[name].get("cpu", 0.0))
            worst["largest_mb"] = max(worst["largest_mb"], found[name].get("mb", 0.0))
    if sorted(os.listdir(folder)) != before:
        outcome.faults.append(f"files were left: {sorted(set(os.listdir(folder)) - set(before))[:3]}")
    with rows.open(encoding="utf-8", newline="") as file:
        written = [row[0] for row in csv.reader(file, strict=True)]
    names = [name.encode("utf-8", "backslashreplace").decode() for name in expected if "end" in found.get(name, {})]
    if sorted(written) != sorted(names):
        outcome.faults.append(f"rows of {sorted(set(written) ^ set(names))[:3]} are not those of the files")


def judge(name: str, case: Case, found: Mapping[str, Any]) -> list[str]:
    """What is wrong with the outcome of one file."""
    came = f"{name[:40]!r} ({case.kind}): {str({k: v for k, v in found.items() if k != 'end'})[-300:]}"
    if "crash" in found:
        return [f"{came}: a traceback"]
    wrong = []
    if found["cpu"] > CPU_S or found["mb"] > MEMORY_MB:
        wrong.append(f"{came}: more than {CPU_S} s or {MEMORY_MB} MB")
    if case.outcome != EITHER and ("size" in found) != (case.outcome == READ):
        wrong.append(f"{came}: expected to be {case.outcome}")
    elif "size" in found:
        if case.size and tuple(found["size"]) != case.size:
            wrong.append(f"{came}: expected {case.size}")
        if case.colour and max(abs(a - b) for a, b in zip(found["mean"], case.colour, strict=True)) > CLOSE:
            wrong.append(f"{came}: expected the colour {case.colour}")
    elif not found["problem"] or case.reason.lower() not in found["problem"].lower():
        wrong.append(f"{came}: expected a reason with {case.reason!r}")
    return wrong


def read_folder(folder: Path, rows: Path, outcome: Outcome) -> tuple[dict[str, dict[str, Any]], list[str], str]:
    """({file: what came of it}, the files that were listed, what was passed over)."""
    found: dict[str, dict[str, Any]] = {}
    first, images, note = 0, list[str](), ""
    while True:
        begun = ""
        command = [sys.executable, "-m", "torture._image_reader", folder, rows, str(ADDRESS_MB), str(first)]
        paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
        ) as process:
            for line in lines_of(process):
                said = json.loads(line)
                images, note = said.get("images", images), said.get("note", note)
                begun = said.get("begin", begun)
                if "end" in said:
                    found[said["end"]], begun = said, ""
            status = process.wait()
            errors = process.stderr.read().decode(errors="replace") if process.stderr else ""
        if "Traceback" in errors:  # libtiff prints lines of its own
            outcome.faults.append(f"printed: {errors[-500:]}")
        if not status:
            return found, images, note
        if not begun:
            outcome.faults.append(f"the process ended with {status} between two files")
            return found, images, note
        what = "hangs" if status == -9 else f"ended the process with {status}"
        outcome.faults.append(f"{begun!r}: {what}")
        first = images.index(begun) + 1


def lines_of(process: "subprocess.Popen[bytes]") -> Any:
    """The lines that it prints; kills it where none comes for HANG_S."""
    assert process.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(HANG_S):
                process.kill()
                return
            block = os.read(process.stdout.fileno(), 2**16)
            if not block:
                return
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
