"""What make passes on, what it refuses before it runs anything, and how much it holds."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tandem.__main__ import main

ROOT = Path(__file__).parents[1]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Prints the recipe, with single spaces, and runs nothing; as a make of its own where make runs the tests."""
    env = {name: value for name, value in os.environ.items() if "MAKE" not in name and name != "MFLAGS"}
    run = subprocess.run(["make", "-n", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    run.stdout = re.sub(" +", " ", run.stdout)
    return run


@pytest.mark.parametrize("comp", ["", "two names", "..", "a/b", "*", "a;b"])
def test_a_competition_without_one_name_is_refused_before_anything_is_cleaned(comp):
    run = make("clean", f"COMP={comp}")
    assert run.returncode == 2
    assert f"COMP='{comp}': expected the name of one competition" in run.stderr
    assert run.stdout == ""


def test_any_other_name_is_one():
    run = make("clean", "COMP=coco19-mini_2")
    assert run.returncode == 0, run.stderr
    assert "-m tandem clean coco19-mini_2" in run.stdout


def test_an_old_make_is_refused_by_name():
    run = make("help", "MAKE_VERSION=3.81")
    assert run.returncode == 2
    assert "GNU make 3.81 is too old, 4.2 or newer is needed" in run.stderr


@pytest.mark.parametrize("word", ["-j3", "--jobs=3", "-k"])
def test_options_of_make_change_nothing(word):
    run = make("submit", "COMP=x", word)
    assert run.returncode == 0, run.stderr
    assert ".venv/bin/python -m tandem submit x" in map(str.strip, run.stdout.splitlines())


def test_the_chosen_experiments_are_passed_on_as_one_argument():
    printed = make("train", "COMP=x", "EXPS=image_lite0 text_minilm").stdout
    assert '-m tandem train x --exps "image_lite0 text_minilm"' in printed


def test_a_stage_is_told_the_variables_of_the_command_line_but_not_those_of_every_command():
    assert r"TANDEM_GIVEN='EXP='\''a b'\''' " in make("train", "COMP=x", "EXP=a b", "CORES=2", "DEVICE=cpu").stdout
    assert "TANDEM_GIVEN" not in make("train", "COMP=x", "COLUMNS=80", "EXPS=").stdout
    assert "TANDEM_GIVEN" not in make("submit", "report", "COMP=x", "EXP=a").stdout  # one of them knows it


def test_a_text_with_dollar_signs_and_quotes_reaches_the_stage_as_it_was_typed():
    printed = make("submit", "COMP=x", "NOTE=it's 5 $ for $HOME, $(COMP) and $").stdout
    assert r"--note 'it'\''s 5 $ for $HOME, $(COMP) and $'" in printed
    assert "$HOME, $(COMP) and $" in printed.partition("TANDEM_GIVEN=")[2].partition("--note")[0]


def test_the_engine_is_passed_on_and_the_first_run_on_a_cluster_installs_ray():
    changed = ("-W", "requirements-ray.txt")  # as if it were new
    printed = make("submit", "COMP=x", "ENGINE=ray", "RAY_ADDRESS=auto", *changed).stdout
    assert "pip install --quiet --disable-pip-version-check -r requirements-ray.txt" in printed
    assert 'TANDEM_ENGINE="ray" RAY_ADDRESS="auto" .venv/bin/python -m tandem submit x' in printed
    assert "requirements-ray" not in make("submit", "COMP=x", *changed).stdout


VARIABLES = (
    "COMP=x ZIP=a DIR=b TARGET=c EXPS=d EXP=e ID=f FOLDS=1 IMAGES=g OUT=h CAPTIONS=i FAST=1 BUNDLE=j PORT=1 "
    "BUDGET_MB=1 BUDGET_MS=1 LABELS=k IMAGE=l CAPTION=m METRIC=n SET=o=p STACK=q N=2 "
    "NAME=r OOF=s TEST=t KIND=logits AGAIN=1 REMOVE=1 FILE=u IDS=v READS=image FILES=w DIFF=1 BUDGET=20m "
    "NOTE=x YES=1 SLUG=y REMOTE=1 A=z B=z KEEP=1"
)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("import", "--zip --dir --labels --id --image --caption --metric --set"),
        ("plan", "--exps --stack --budget --target"),
        ("train", "--exps --stack --budget"),
        ("submit", "--exps --stack --budget --note"),
        ("report", "--exp"),
        ("explain", "--id --exp"),
        ("ablation", "--exp --folds"),
        ("seeds", "--exp --n"),
        ("predict", "--bundle --exp --fast --folds --images --out --captions --again"),
        ("bundle", "--budget-mb --budget-ms --exp --folds"),
        ("add-predictions", "--zip --name --oof --test --folds --kind --again --remove"),
        ("review", "--exp --port --diff"),
        ("serve", "--port --folds --exp --bundle --fast"),
        ("add-features", "--file --test --name --ids --id --reads --again"),
        ("blend", "--files --out"),
        ("download", "--slug"),
        ("upload", "--file --exp --note --yes --slug"),
        ("leaderboard", "--slug"),
        ("journal", "--remote --slug"),
        ("compare", "--a --b"),
        ("clean-history", "--keep"),
        ("tune", "--exp"),
        ("new-model", "--name"),
    ],
)
def test_the_stage_has_every_option_that_make_passes(target, options, capsys):
    printed = make(target, *VARIABLES.split()).stdout
    assert re.findall(r" (--[a-z-]+)", printed.split("-m tandem")[-1]) == options.split()
    with pytest.raises(SystemExit):
        main([target, "--help"])
    assert set(options.split()) <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_the_makefile_stays_small_and_plain():
    text = (ROOT / "Makefile").read_text()
    assert len(text.splitlines()) <= 140
    assert "$(eval" not in text
    assert not re.search(r"^\s*-?s?include\b", text, re.MULTILINE)


GROUPS = {
    "Start": ["help", "setup", "import", "check"],
    "Train": ["train", "stack", "submit", "tune"],
    "Look": ["scores", "report", "explain", "journal"],
    "Label": ["predict", "serve", "review"],
    "Share": ["bundle", "blend", "upload"],
    "Project": ["test", "test-all", "bench", "clean"],
}


def test_help_lists_every_target_in_a_group_with_what_it_needs_apart_from_what_it_may_have():
    run = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert max(map(len, run.stdout.splitlines())) <= 100
    head, *parts = re.split(r"\n\n", run.stdout.strip())
    shown = {part.split("\n")[0]: re.findall(r"^  ([a-z-]+) ", part, re.MULTILINE) for part in parts}
    assert list(shown) == [*GROUPS, "Examples:"]
    assert all(set(targets) <= set(shown[group]) for group, targets in GROUPS.items())
    phony = (ROOT / "Makefile").read_text().replace("\\\n", " ").split(".PHONY:")[1].split("\n")[0].split()
    assert sorted(name for group in GROUPS for name in shown[group]) == sorted(phony)
    assert re.search(r"  explain .*\n +needs +ID=123.jpg\n +may have EXP=", run.stdout)
    assert run.stdout.strip().count("\n  make ") == 3


@pytest.mark.parametrize("words", [["explain"], ["predict"], ["seeds"], ["tune"], ["blend"], ["add-features"]])
def test_a_target_without_what_it_needs_is_left_to_the_stage_to_explain(words):
    run = make(*words, "COMP=x")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_target_that_there_is_not_is_answered_with_the_nearest_one(tmp_path):
    run = subprocess.run(["make", "scroes", "COMP=x"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "No rule to make target" not in run.stderr
    assert "make help lists the targets" in run.stderr
