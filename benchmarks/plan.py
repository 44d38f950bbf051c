"""How well a run is predicted: the drawn sample's minutes by `make plan`, after its probe, against those it takes.

With LONG=1 and COMP=name, a competition in input/, also those of the sets quick and default with their scores, each
from a clean copy of its input.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.sets import load_sets
from tandem.graph.costs import planned
from tandem.graph.plan import steps
from tandem.stages._costs import costs_of, total
from tandem.stages._run import checked_graph

SAMPLE, MEMBERS = "sample", ("text_minilm", "text_tfidf", "concat")


def tandem(*words: str) -> float:
    """Seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tandem", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def expected_seconds(paths: Paths, members: tuple[str, ...]) -> float:
    """What `make plan` says before the run, after its probe of this machine."""
    graph = checked_graph(paths).refreshed()
    found = steps(graph, graph.goal("submit", members), members)
    return total(planned(found, costs_of(graph, found, probe=True)))


def plan_error(name: str, expected: float, took: float, what: str) -> None:
    print(f"{name}_expected: {expected / 60:.1f} min, {what}, by make plan")
    print(f"{name}_minutes: {took / 60:.1f} min, on {os.cpu_count()} cores")
    print(f"{name}_error: {100 * (expected - took) / took:+.0f} %, expected against measured", flush=True)


def sample_minutes() -> None:
    expected = expected_seconds(Paths(SAMPLE), MEMBERS)
    plan_error("plan", expected, tandem("submit", SAMPLE, "--exps", " ".join(MEMBERS)), "the sample")


def set_minutes(comp: str, source: Path, name: str) -> None:
    """Minutes, plan and score of a set, from a copy of the competition's input in the working folder."""
    Path("input").mkdir(exist_ok=True)
    subprocess.run(["cp", "-r", str(source), f"input/{comp}"], check=True)
    paths = Paths(comp)
    members = tuple(load_sets(paths.configs, set())[name].experiments)
    expected = expected_seconds(paths, members)
    plan_error(name, expected, tandem("submit", comp, "--exps", name), f"{comp} from its tables to the CSV")
    metric, score = load_competition(paths.competition).metric, read_json(paths.scores("stack"))["score"]
    print(f"{name}_score: {score:.4f} {metric}, cross-fitted", flush=True)


def main() -> None:
    comp, here = os.environ.get("COMP", ""), Path.cwd()
    source = Paths(comp, here).competition.parent if re.fullmatch(r"[a-z0-9_-]+", comp) else here
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sample_minutes()
        os.chdir(here)
    if not os.environ.get("LONG") or not (source / "competition.toml").exists():
        print("quick_minutes, default_minutes: only with LONG=1 and COMP=name, a competition in input/")
        return
    for name in ("quick", "default"):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            set_minutes(comp, source, name)
            os.chdir(here)


if __name__ == "__main__":
    main()
