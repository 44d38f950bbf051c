"""Tables and TOML files of others: the rows that were written, or a message that says where it is wrong."""

import contextlib
import io
import re
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.load_experiments import load_experiment, load_experiments
from tandem.config.sets import load_sets
from tandem.data.csv_reader import read_table
from tandem.data.user_table import read_user_table
from torture._limits import TooLong, within
from torture._mutations import mutated, plain_rows
from torture._random_tables import Written, random_rows, table_text, write_table
from torture._random_toml import changed
from torture.campaign import Outcome, Task

QUICK, LONG = 150, 3_000
SECONDS = 10.0  # of the processor, for one try
MEMORY = 1.5e6  # kB that the process may grow by
CASES = (Path(__file__).parents[1] / "cases", Path(__file__).parents[3] / "shared" / "cases")
COMPETITION = """id = "id"
caption = "caption"
images = ""
metric = "f1_samples"
beta = 1.0
least = 1
most = 2
decoder = "auto"
train = "train.csv"
test = "test.csv"
experiments = ["words"]

[labels]
format = "separated"
column = "labels"
separator = " "
names = ["cat", "dog"]

[folds]
n = 3
seed = 0
"""
EXPERIMENTS = {
    "words": 'kind = "tfidf"\nseed = 1\n\n[tfidf]\nwords = 2\nc = 4.0\nmin_rows = 1\n',
    "heads": 'base = "text_minilm"\nseed = 3\nseeds = 2\n\n[head]\nhidden = 32\ndropout = 0.1\nbags = 1\n\n'
    '[train]\nepochs = 3\nlr = 1e-3\nema = 0.5\n\n[tune]\n"train.lr" = {low = 1e-4, high = 1e-2, log = true}\n',
    "joined": 'base = "fusion"\nseed = 3\n\n[train]\nepochs = 3\nlr = 1e-3\n\n[fusion]\nrank = 8\n',
}
SETS = '[own]\nabout = "mine"\nexperiments = ["words"]\n'
TRAIN = "id,caption,labels\n" + "".join(
    f"{i},a {('cat', 'dog')[i % 2]} {i},{('cat', 'dog')[i % 2]}\n" for i in range(12)
)
TEST = "id,caption\n" + "".join(f"{i},a cat {i}\n" for i in range(20, 24))


def run(task: Task) -> Outcome:
    """Each try is one of six kinds in turn; before them, what is intact must be read, and a planted fault be found."""
    outcome, seen = Outcome(), Counter[str]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.chdir(task.folder):
        outcome.faults += control(task.folder)
        for number in task.numbers():
            rng = np.random.default_rng([task.seed, number])
            name, attempt = KINDS[number % len(KINDS)]
            folder = Path(f"try{number}")
            folder.mkdir()
            problem = tried(lambda attempt=attempt, folder=folder, rng=rng: attempt(folder, rng, seen))
            outcome.tries += 1
            seen[name] += 1
            if problem:
                outcome.faults.append(f"try {number} of seed {task.seed}, {name}: {problem}")
            else:
                remove(folder)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > MEMORY:
        outcome.faults.append(f"memory grew by {grown / 1e6:.1f} GB; expected at most {MEMORY / 1e6} GB")
    outcome.figures |= {name: str(n) for name, n in sorted(seen.items())} | {"memory": f"+{grown / 1e3:.0f} MB"}
    return outcome


def tried(attempt: Callable[[], str]) -> str:
    """What is wrong with it, "" where nothing is."""
    try:
        with within(SECONDS):
            return attempt()
    except TooLong:
        return f"more than {SECONDS:g} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"


def remove(folder: Path) -> None:
    """The folder; a fault of the campaign itself where something else is in it than files and folders of its own."""
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()


def named(file: Path, read: Callable[[], object], lines: bool = True) -> tuple[object, str]:
    """(what was read or None, what is wrong with the error): a ValueError must name the file, and a line where a table
    has a wrong row. Any other exception passes."""
    try:
        return read(), ""
    except (ValueError, OSError) as error:
        text = str(error)
        whole = (
            r"line \d|the file is|is a folder|not JSON|save the file|holds JSON|bytes; |UTF-8|no objects|a key has no"
        )
        if file.name not in text:
            return None, f"the message does not name the file: {type(error).__name__}: {text[:200]}"
        if lines and not re.search(whole, text):
            return None, f"the message names no line: {text[:200]}"
        if len(text) > 20_000:
            return None, f"the message has {len(text)} characters"
        return None, ""


def written(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """A well-written table gives its rows; it may be refused only where a text has a line that starts like a row."""
    made = write_table(folder, rng)
    found, wrong = named(made.file, lambda: read_table(made.file, made.encoding))
    if wrong:
        return wrong
    if found is None:
        seen["refused, as a line of a text starts like a row"] += 1
        like_row = any(re.search(r"[\n\r][^\n\r,;|\t]*[,;|\t]", cell) for row in made.rows for cell in row)
        return "" if like_row else "a well-written table was refused"
    rows = [row for row in made.rows if any(cell.strip() for cell in row)]
    if found.columns != made.columns or found.rows != rows:
        first = next((i for i, (a, b) in enumerate(zip(found.rows, rows, strict=False)) if a != b), len(rows))
        return f"{made.file.name}: wrong from row {first} on: {found.columns} {found.rows[first : first + 1]!r:.200}"
    return ""


def ragged(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """A row with a cell more or less is an error that names its line."""
    columns, rows = random_rows(rng)
    rows = [tuple(re.sub(r"\W", "", cell) or "x" for cell in row) for row in rows]
    if len(rows) < 2 or len(columns) < 3:
        return ""
    at = int(rng.integers(len(rows)))
    rows[at] = (*rows[at], "more") if rng.random() < 0.5 else rows[at][:-1]
    file = folder / "ragged.csv"
    text = ",".join(f"c{j}" for j in range(len(columns))) + "\n" + "".join(",".join(row) + "\n" for row in rows)
    file.write_text(text)
    try:
        read_table(file)
    except ValueError as error:
        return "" if f"{file}: line {at + 2}: " in str(error) else f"expected line {at + 2}: {error}"
    return f"row {at} has another number of cells, and was read"


def cases() -> Iterator[Path]:
    """Real small tables, and none where they are not there."""
    for place in CASES:
        for suffix in ("csv", "tsv", "json", "jsonl"):
            yield from (file for file in sorted(place.glob(f"*/files/**/*.{suffix}")) if file.stat().st_size < 60_000)


def broken(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """A broken table gives the rows that the simple reader finds, where it finds any, or an error with the line."""
    every = REAL or [*cases()]
    REAL[:] = every
    if every and rng.random() < 0.6:
        source = every[int(rng.integers(len(every)))]
        data, name = source.read_bytes(), source.name
    else:
        made: Written = write_table(folder, rng)
        data, name = made.file.read_bytes(), made.file.name
    file = folder / f"broken_{name}"
    file.write_bytes(mutated(data, rng))
    found, wrong = named(file, lambda: read_table(file))
    if wrong or found is None:
        seen["broken tables that were refused"] += not wrong
        return wrong
    expected = plain_rows(file.read_bytes()) if file.suffix == ".csv" else None
    if expected is None:
        return ""
    seen["broken tables that the simple reader reads too"] += 1
    if [found.columns, *found.rows] != [tuple(name.strip() for name in expected[0]), *expected[1:]]:
        return f"{file}: other rows than the simple reader finds"
    return ""


REAL: list[Path] = []
COLUMNS: tuple[tuple[str, Callable[[np.random.Generator], pa.Array]], ...] = (
    ("text", lambda rng: pa.array(["a", None, ""])),
    ("whole", lambda rng: pa.array([1, None, 2**62])),
    ("floats", lambda rng: pa.array([1.0, float("nan"), float("inf")])),
    ("dates", lambda rng: pa.array([0, 10**5, -(10**5)], pa.date32())),
    ("far", lambda rng: pa.array([2**62, 0, -(2**62)], pa.timestamp("us"))),
    ("zones", lambda rng: pa.array([0, 1, 2], pa.timestamp("s", tz="Nowhere/Atall"))),
    ("lists", lambda rng: pa.array([[1, 2], None, []])),
    ("maps", lambda rng: pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64()))),
    ("bytes", lambda rng: pa.array([b"\xff", b"", None])),
    ("records", lambda rng: pa.array([{"a": 1}, None, {"a": 2}])),
    ("words", lambda rng: pa.array(["x", "y", "x"]).dictionary_encode()),
    ("decimals", lambda rng: pa.array([1, 2, None]).cast(pa.decimal128(38, 2))),
    ("nothing", lambda rng: pa.nulls(3)),
    ("spans", lambda rng: pa.array([2**62, 1, 0], pa.duration("s"))),
    ("times", lambda rng: pa.array([0, 1, 86399999999], pa.time64("us"))),
)


def parquet(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """A parquet file of any types, intact or broken: its cells, or an error that names the file."""
    chosen = [COLUMNS[i] for i in rng.choice(len(COLUMNS), int(rng.integers(1, 5)), replace=False)]
    names, made = [name for name, _ in chosen], [make(rng) for _, make in chosen]
    file = folder / "table.parquet"
    pq.write_table(pa.table([pa.array(["a", "b", "c"]), *made], names=["id", *names]), file)
    is_broken = rng.random() < 0.5
    if is_broken:
        file.write_bytes(mutated(file.read_bytes(), rng))

    def read() -> list[list[str]]:
        table = read_user_table(file)
        return [table.texts(name) for name in table.columns]

    found, wrong = named(file, read, lines=False)
    if wrong or is_broken:
        return wrong
    readable = not {"far", "zones", "spans"} & set(names)
    if found is None:
        return "an intact file was refused" if readable else ""
    return "" if found[0] == ["a", "b", "c"] and all(map(len, found)) else f"other ids: {found[0]}"


def competition(root: Path) -> Paths:
    """A small competition of captions, with files in `configs/`, below `root`."""
    paths = Paths("toy", root)
    files = {paths.competition: COMPETITION, paths.input / "train.csv": TRAIN, paths.input / "test.csv": TEST}
    files |= {paths.configs / f"{name}.toml": text for name, text in EXPERIMENTS.items()}
    for file, text in (files | {root / "sets.toml": SETS}).items():
        write_text(file, text)
    return paths


def settings(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """A changed TOML file is loaded, or refused with its name; in one of four tries by a whole command."""
    paths = competition(folder)
    file = [paths.competition, *sorted(paths.configs.glob("*.toml")), folder / "sets.toml"][int(rng.integers(5))]
    if rng.random() < 0.4:
        file = paths.competition
    file.write_bytes(changed(file.read_text(encoding="utf-8"), rng))
    if rng.random() < 0.25:
        return commands(folder, rng, seen)

    def load() -> bool:
        if file.parent == paths.configs:
            load_experiment(file)
        elif file == paths.competition:
            load_experiments(paths.configs, load_competition(file), file)
        else:
            load_sets(paths.configs, ())
        return True

    found, wrong = named(file, load, lines=False)
    seen["TOML files that were refused"] += found is None
    return wrong


def in_competition(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """A competition with a broken or a random table, by whole commands."""
    paths = competition(folder)
    file = paths.input / str(rng.choice(["train.csv", "test.csv", "sample_submission.csv", "corrections.csv"]))
    if rng.random() < 0.5 and file.exists():
        file.write_bytes(mutated(file.read_bytes(), rng))
    else:
        file.write_text(table_text(*random_rows(rng), rng, ","), encoding="utf-8")
    if rng.random() < 0.3:
        paths.competition.unlink()
    return commands(folder, rng, seen)


def commands(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> str:
    """Import, check and plan in this folder: each ends well, or with a message and status 1 or 2."""
    with contextlib.chdir(folder):
        for words in (["check", "toy"], ["plan", "toy"], ["import", "toy", "--set", "folds.n=4"], ["check", "toy"]):
            status, said = command(words)
            seen[f"commands that ended with {status}"] += 1
            if status not in (0, 1, 2) or "Traceback" in said or (status == 2 and not said.strip()):
                return f"tandem {' '.join(words)}: status {status}: {said[-600:]}"
    return ""


def command(words: list[str]) -> tuple[int, str]:
    """The exit status of a command in this process, and what it wrote to stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, said.getvalue()


KINDS: tuple[tuple[str, Callable[[Path, np.random.Generator, Counter[str]], str]], ...] = (
    ("well-written tables", written),
    ("broken tables", broken),
    ("TOML files", settings),
    ("well-written tables", written),
    ("broken tables", broken),
    ("ragged tables", ragged),
    ("parquet files", parquet),
    ("tables of a competition", in_competition),
    ("well-written tables", written),
    ("TOML files", settings),
    ("broken tables", broken),
    ("well-written tables", written),
)


def control(folder: Path) -> list[str]:
    """Faults where what is intact is refused, or a planted wrong row, exception or endless loop is not noticed."""
    faults, intact = [], folder / "intact"
    paths = competition(intact)
    with contextlib.chdir(intact):
        status, said = command(["check", "toy"])
        faults += [f"the intact competition: {said}"] if status else []
    for file in paths.configs.glob("*.toml"):
        load_experiment(file)
    file = write_text(folder / "planted.csv", "id,x\n1,a\n")
    planted = {
        "other rows": lambda: "" if read_table(file).rows == [("1", "b")] else "differs",
        "an exception": lambda: {}["planted"],
        "an endless loop": lambda: next(i for i in iter(int, 1) if i),
    }
    limit = globals()["SECONDS"]
    try:
        globals()["SECONDS"] = 0.2
        faults += [
            f"the planted fault was not found: {what}" for what, attempt in planted.items() if not tried(attempt)
        ]
    finally:
        globals()["SECONDS"] = limit
    return faults
