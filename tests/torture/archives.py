"""Archives, bundles, weights and tables from strangers: read or refused with their name, within limits, and nothing
is written beside."""

import os
import shutil
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from tandem.artifacts import parquet_limits
from tandem.artifacts.array_file import map_array
from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths, bundle_manifest
from tandem.artifacts.read_errors import naming
from tandem.artifacts.tensor_file import read_tensors
from tandem.bundling.bundle_writer import write_zip
from tandem.data.archive import unpack_archive
from tandem.data.user_table import read_user_table
from tandem.ensemble.lightgbm_text import read_booster
from tandem.features.model_folder import check_model_folder
from tandem.inference.bundle_reader import FORMAT, open_bundle, sha256
from tandem.inference.bundle_seal import sealed
from torture import _hostile_archives, _hostile_files
from torture._guarded import guarded
from torture.campaign import Outcome, Task

QUICK, LONG = 64, 480
KINDS = ("archive", "bundle", "safetensors", "parquet", "booster", "bundle", "tokenizer", "npy")
MEMORY, SECONDS = 1536 * 2**20, 120.0  # of a try, beyond what is mapped before; a busy machine may take long
EVIL = Path("/tmp/evil.txt")
CANARY = "not to be changed"
DECODED = 2**27  # bytes of a parquet file, in place of the product's limit, which would take seconds to reach


def run(task: Task) -> Outcome:
    """A fault: a crash, a hang, too much memory, another error than a refusal that names the file, a file outside, an
    intact file that is refused, or a hostile one that is read."""
    outcome, begin = Outcome(), time.monotonic()
    made = _Made(task)
    EVIL.unlink(missing_ok=True)
    refused = 0
    for number in task.numbers():
        folder = task.folder / "tries" / str(number)
        (folder / "out").mkdir(parents=True)
        rng = np.random.default_rng([task.seed, number])
        kind, index = KINDS[number % len(KINDS)], number // len(KINDS) * KINDS.count(KINDS[number % len(KINDS)])
        index += KINDS[: number % len(KINDS)].count(kind)
        file, must, read = made.one(kind, index, folder, rng)
        got, text = guarded(partial(_in, folder / "out", read), MEMORY, SECONDS)
        refused += got == "refused"
        outcome.tries += 1
        if problem := _problem(got, text, must, file) or _beside(task.folder, folder, got):
            outcome.faults.append(f"try {number} ({kind} {index}): {problem}")
        else:
            shutil.rmtree(folder)
    outcome.figures = {"refused": str(refused), "seconds a try": f"{(time.monotonic() - begin) / outcome.tries:.2f}"}
    return outcome


def _in(out: Path, read: Callable[[], object]) -> object:
    os.chdir(out)
    os.environ["XDG_CACHE_HOME"] = str(out / "cache")
    parquet_limits.MAX_BYTES = DECODED
    return read()


def _problem(got: str, text: str, must: str, file: Path) -> str:
    if got not in ("read", "refused"):
        return f"{file.name}: {got}: {text[:300]}"
    if must not in ("either", got):
        return f"{file.name}: expected {must}, got {got}: {text[:300]}"
    if got == "refused" and file.name not in text and file.parent.name not in text:
        return f"the message does not name {file.name}: {text[:300]}"
    return f"the message has line breaks: {text[:300]!r}" if "\n" in text else ""


def _beside(root: Path, folder: Path, got: str) -> str:
    """What was written, or is left, where nothing should be."""
    wrong = [str(EVIL)] if EVIL.exists() else []
    wrong += [str(path) for path in root.iterdir() if path.name not in ("tries", "canary.txt", "made")]
    wrong += [str(path) for path in folder.iterdir() if path.name not in ("in", "out")]
    wrong += [
        str(path) for path in (folder / "out").rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]
    if got == "refused":
        wrong += [str(path) for path in (folder / "out").rglob("*") if path.is_file() and path.name != ".lock"]
    if (root / "canary.txt").read_text() != CANARY or (root / "tries" / "canary.txt").read_text() != CANARY:
        wrong.append("a canary was changed")
    return f"written outside, or left over: {wrong[:3]}" if wrong else ""


class _Made:
    """What all tries start from."""

    def __init__(self, task: Task) -> None:
        (task.folder / "tries").mkdir(parents=True)
        for place in (task.folder, task.folder / "tries"):
            (place / "canary.txt").write_text(CANARY)
        self.booster = _hostile_files.booster_text()
        self.bundle = _bundle(task.folder / "made")
        self.names = zipfile.ZipFile(self.bundle).namelist()

    def one(
        self, kind: str, index: int, folder: Path, rng: np.random.Generator
    ) -> tuple[Path, str, Callable[[], object]]:
        """(the file, what must become of it, how it is read)."""
        inside = folder / "in"
        if kind == "archive":
            file, must = _hostile_archives.make(inside, index, rng)
            return file, must, lambda: unpack_archive(file, folder / "out" / "comp")
        inside.mkdir()
        if kind == "bundle":
            return self._bundle(index, inside, rng)
        names = {"safetensors": "a.safetensors", "parquet": "a.parquet", "booster": "label0.txt", "npy": "a.npy"}
        file = inside / names.get(kind, "tokenizer.json")
        if kind == "npy":
            content, must = _hostile_files.npy_file(file, index, rng)
        elif kind == "booster":
            content, must = _hostile_files.booster_file(self.booster, index, rng)
        else:
            content, must = getattr(_hostile_files, f"{kind}_file")(index, rng)
        file.write_bytes(content)
        return file, must, partial(READERS[kind], file)

    def _bundle(self, index: int, inside: Path, rng: np.random.Generator) -> tuple[Path, str, Callable[[], object]]:
        file, content = inside / "bundle.zip", bytearray(self.bundle.read_bytes())
        if index % 8 == 1:
            content = content[: rng.integers(len(content))]
        elif index:
            content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        file.write_bytes(content)
        if index % 8 == 2:  # a member more
            with zipfile.ZipFile(self.bundle) as whole, zipfile.ZipFile(file, "w") as opened:
                for name in self.names:
                    opened.writestr(name, whole.read(name))
                opened.writestr("oof/small/more.json", "{}")
        return file, "refused" if index else "read", lambda: open_bundle(file)[1]


def _bundle(folder: Path) -> Path:
    """A bundle of one text model, as `make bundle` lays it out."""
    root = folder / "small"
    paths = Paths("small", root)
    write_text(paths.competition, 'id = "id"\n' * 20)
    write_json(paths.run("words"), {"experiment": "words", "folds": [0, 1], "config": {"kind": "tfidf"}})
    rng = np.random.default_rng(0)
    for fold in (0, 1):
        paths.models_dir("words").mkdir(parents=True, exist_ok=True)
        save_file({"coef": rng.normal(size=(500, 2))}, paths.models_dir("words") / f"fold{fold}.safetensors")
    files = {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}
    manifest = {"format": FORMAT, "competition": "small", "experiment": "words", "members": ["words"]}
    listed = {name: {"sha256": sha256(file), "bytes": file.stat().st_size} for name, file in files.items()}
    write_text(bundle_manifest(root), sealed({**manifest, "files": listed}))
    write_zip(root, folder / "bundle.zip")
    return folder / "bundle.zip"


def _read_booster(file: Path) -> str:
    found = read_booster(file, _hostile_files.FEATURES)
    x = np.random.default_rng(1).normal(size=(50, _hostile_files.FEATURES))
    for how in ({"raw_score": True}, {"pred_contrib": True}):
        assert np.isfinite(found.predict(x, **how)).all()
    return "finite"


def _read_tokenizer(file: Path) -> int:
    check_model_folder(file.parent)
    with naming(file.parent, "not loaded", "get it again"):  # as `load_sentences` does
        return len(Tokenizer.from_file(str(file)).encode("a cat and a dog").ids)


READERS: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda file: len(read_tensors(file)),
    "parquet": lambda file: [len(read_user_table(file).column(name)) for name in read_user_table(file).columns],
    "booster": _read_booster,
    "tokenizer": _read_tokenizer,
    "npy": lambda file: float(np.abs(map_array(file, "save it again")).max()),
}
