"""Reads the images of a folder as `make predict` does, in a process with a limit of memory; a JSON line for each.

Run as `python -m torture._image_reader FOLDER ROWS MEMORY_MB [FIRST]`; ROWS is the file of labels that is written.
"""

import json
import resource
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from tandem.data.image_io import BadImage
from tandem.data.image_loader import decoded, to_square
from tandem.inference.image_folder import list_images
from tandem.inference.results import TEXT, LabelledImage, format_line


def peak_mb() -> float:
    """Of memory in RAM, since the last call."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def read(path: Path) -> dict[str, object]:
    try:
        image = decoded(path)
        to_square(image, 64)
        return {"size": image.size, "mean": np.asarray(image.resize((9, 9))).mean((0, 1)).round().tolist()}
    except BadImage as error:
        return {"problem": " ".join(str(error).removeprefix(f"{path}: ").split())}
    except BaseException:
        return {"crash": traceback.format_exc()}


def main(folder: Path, rows: Path, memory_mb: int, first: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20,) * 2)
    images, note = list_images(folder)
    print(json.dumps({"images": images, "note": note}), flush=True)
    with rows.open("a", **TEXT) as file:
        for name in images[first:]:
            print(json.dumps({"begin": name}), flush=True)
            before, cpu = peak_mb() and peak_mb(), time.process_time()
            found = read(folder / name)
            found |= {"cpu": time.process_time() - cpu, "mb": peak_mb() - before}
            problem = str(found.get("problem", ""))
            file.write(format_line(LabelledImage(name, proba={"x": 0.0}, problem=problem), ["x"], " ", False))
            file.flush()
            print(json.dumps({"end": name} | found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
