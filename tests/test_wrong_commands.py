"""A wrong command is answered with what came, what there is (the nearest first) and a command that works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_plan import write_toy
from test_scores import write_scores

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths

SRC = Path(__file__).parents[1] / "src"


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Paths:
    """A competition with two experiments, of which `words` and a stack have scores, and no models."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("toy")
    for name in ("words", "stack"):
        write_scores(paths, name, 0.5)
    write_toy(paths)
    for name in ("birds.zip", "photos/a.jpg", "input/raw/train.csv"):
        write_text(Path(name), "x")
    return paths


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a wrong command prints; its exit status is 2."""
    try:
        status = main(words)
    except SystemExit as ended:
        status = ended.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    return line


COMP = "COMP=nope: there is no such competition in input/ (make import adds one); there are: sample toy; run: make "
WORDS = "there are: words "
SCORED = "EXP=wrods: not scored; there are: words stack; run: make "
WRONG = [
    ("scores COMP=nope", COMP + "scores COMP=sample"),
    ("scores COMP=tyo", "there are: toy sample; run: make scores COMP=toy"),
    ("report COMP=nope", COMP + "report COMP=sample"),
    ("train COMP=nope EXPS=words", COMP + "train COMP=sample EXPS=words"),
    ("check COMP=nope", COMP + "check COMP=sample"),
    ("predict COMP=nope IMAGES=photos OUT=a.csv", COMP + "predict COMP=sample IMAGES=photos OUT=a.csv"),
    ("blend COMP=nope FILES='a.csv b.csv'", COMP + "blend COMP=sample FILES="),
    ("ablation COMP=nope", COMP + "ablation COMP=sample"),
    ("scores COMP=Toy", "COMP=Toy: expected lower-case letters, digits, '_' and '-'; there are: toy sample; run: make"),
    ("plan COMP=toy TARGET=--", "-- is no value"),
    ("scores COMP=raw", "it is not imported yet; run: make import COMP=raw"),
    ("explain COMP=tou ID=1 EXP=words", "there are: toy sample; run: make explain COMP=toy ID=1 EXP=words"),
    ("predict COMP=toy IMAGES=photos OUT=a.csv EXP=wrods", SCORED + "predict COMP=toy IMAGES=photos"),
    ("bundle COMP=toy EXP=wrods", SCORED + "bundle COMP=toy EXP=words"),
    ("predict COMP=toy IMAGES=photos OUT=a.csv EXP=looks", "'looks' is not trained; run: make train "),
    ("train COMP=toy EXPS=wrods", f"EXPS: wrods has no file in configs/ that fits this competition; {WORDS}"),
    ("train COMP=toy EXPS=wrods,looks", 'such as EXPS="words looks"; there are: '),
    ("submit COMP=toy EXPS=words,looks", 'run: make submit COMP=toy EXPS="words looks"'),
    ("seeds COMP=toy EXP=wrods", "run: make seeds COMP=toy EXP=words"),
    ("seeds COMP=toy", "EXP: "),
    ("tune COMP=toy EXP=stack", "EXP=stack: expected one experiment; there are: "),
    ("seeds COMP=toy EXP=looks N=1", "N=1: expected 2 to "),
    ("plan COMP=toy TARGET=trian", "there are: train "),
    ("submit COMP=toy DECODER=shrnk", "DECODER=shrnk: expected one of fixed, "),
    ("add-predictions COMP=toy NAME=nb OOF=o.csv KIND=logit", "KIND=logit: expected one of "),
    ("serve COMP=toy PORT=abc", "PORT=abc: expected a whole number, 0 to 65535; run: make serve COMP=toy PORT=8000"),
    ("serve COMP=toy PORT=70000", "PORT=70000: expected 0 to 65535; run: make serve COMP=toy PORT=8000"),
    ("bundle COMP=toy BUDGET_MB=abc", "BUDGET_MB=abc: expected a number, 0 or more; run: make bundle COMP=toy"),
    ("bundle COMP=toy BUDGET_MB=-1", "BUDGET_MB=-1: expected 0 or more; run: make bundle COMP=toy BUDGET_MB=100"),
    ("train COMP=toy JOBS=2", "not expected: JOBS=2; tandem train takes COMP= EXPS= STACK= BUDGET="),
    ("ablation COMP=toy SEEDS=none", "SEEDS=none: expected a whole number, 1 or more; run: make ablation COMP=toy"),
    ("import COMP=brids", "zip files here, there are: birds.zip; run: make import COMP=brids ZIP=birds.zip"),
    ("import COMP=new ZIP=bird.zip", "ZIP=bird.zip: no such file; zip files in this folder; there are: birds.zip; "),
    ("import COMP=new DIR=photo", "DIR=photo: no such folder; folders beside it; there are: photos "),
    ("import ZIP=birds.zip", "give yours a name; run: make import ZIP=birds.zip COMP=birds"),
    ("predict COMP=toy OUT=a.csv", "predict needs IMAGES=, a folder of images, or CAPTIONS=, a table; run: make "),
    ("predict COMP=toy IMAGES=photo OUT=a.csv", "run: make predict COMP=toy IMAGES=photos OUT=a.csv"),
    ("predict COMP=toy IMAGES=photos", "predict needs OUT=, a name ending in .csv or .jsonl"),
    ("predict COMP=toy IMAGES=photos OUT=o.txt", "OUT=o.txt: expected a name ending in .csv or .jsonl"),
    ("blend COMP=toy", 'OUT=; run: make blend COMP=toy FILES="a.csv b.csv"'),
    ("new-model", "new-model needs NAME=; tandem new-model takes COMP= NAME=; run: make new-model NAME=mine"),
    ("report COMP=toy EXPP=words", "not expected: EXPP=words; tandem report takes EXP= "),
    ("trian COMP=toy", "'trian' is no target; there are: 'train', "),
]  # fmt: skip


@pytest.mark.parametrize(("command", "message"), WRONG, ids=[command for command, _ in WRONG])
def test_a_wrong_command_is_answered_with_what_there_is_and_a_command_that_works(toy, capsys, command, message):
    stage, *words = (word.strip("'") for word in re.split(r" (?=[A-Z_]+=)", command))
    said = answer([stage, *words], capsys)
    assert message in said
    assert "; run: make " in said
    assert not re.search(r"--[a-z]|<[a-z]", said), "make has no options, and < is a redirection where it is pasted"
    assert not any(Path(top).exists() for top in ("build/nope", "models", "reports", "folds"))


GIVEN = [
    ("train toy", "EXP=words", "not expected: EXP=words; tandem train takes EXPS=", "make train COMP=toy EXPS=words"),
    ("scores toy", "FOLDS=2", "not expected: FOLDS=2; tandem scores takes COMP= DECODERS=", "make scores COMP=toy"),
    ("predict toy", "IMAGE='my photos'", "not expected: IMAGE=my photos;", 'predict COMP=toy IMAGES="my photos"'),
    ("plan toy", "foo=1", "not expected: FOO=1; tandem plan takes", "make plan COMP=toy"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "given", "message", "works"), GIVEN, ids=[given[1] for given in GIVEN])
def test_a_variable_that_the_target_does_not_know_is_refused(toy, capsys, monkeypatch, command, given, message, works):
    monkeypatch.setenv("TANDEM_GIVEN", given)
    said = answer(command.split(), capsys)
    assert message in said
    assert said.endswith(works)


def test_no_message_asks_to_run_a_command_with_a_redirection_in_it():
    texts = {file: file.read_text(encoding="utf-8") for file in (SRC / "tandem").rglob("*.py")}
    assert [file.name for file, text in texts.items() if re.search(r"make [a-z-]+ .*=<", text)] == []


def test_a_closed_pipe_ends_a_command_quietly(toy):
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-m", "tandem", "scores", "toy"],
        stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(SRC)},
    )  # fmt: skip
    os.close(write)
    assert (run.returncode, run.stderr) == (0, "")
