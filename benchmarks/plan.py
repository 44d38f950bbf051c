"""How well a run is predicted: the drawn sample's minutes by `make plan`, after its probe, against those it takes.

With LONG=1 and COMP=name, a competition in input/, also the minutes and the scores of the sets quick and default, each
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


def plan_error() -> None:
    paths = Paths(SAMPLE)
    graph = checked_graph(paths).refreshed()
    found = steps(graph, graph.goal("submit", MEMBERS), MEMBERS)
    expected = total(planned(found, costs_of(graph, found, probe=True)))
    took = tandem("submit", SAMPLE, "--exps", " ".join(MEMBERS))
    print(f"plan_expected: {expected:.0f} s, the sample with {' '.join(MEMBERS)}")
    print(f"plan_measured: {took:.0f} s")
    print(f"plan_error: {100 * (expected - took) / took:+.0f} %, expected against measured")


def minutes(comp: str, source: Path, name: str) -> None:
    """From a copy of the competition's input in the working folder."""
    Path("input").mkdir(exist_ok=True)
    subprocess.run(["cp", "-r", str(source), f"input/{comp}"], check=True)
    took, paths = tandem("submit", comp, "--exps", name), Paths(comp)
    metric, score = load_competition(paths.competition).metric, read_json(paths.scores("stack"))["score"]
    print(f"{name}_minutes: {took / 60:.1f} min, {comp} from its tables to the CSV on {os.cpu_count()} cores")
    print(f"{name}_score: {score:.4f} {metric}, cross-fitted")


def main() -> None:
    comp, here = os.environ.get("COMP", ""), Path.cwd()
    source = Paths(comp, here).competition.parent if re.fullmatch(r"[a-z0-9_-]+", comp) else here
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        plan_error()
        os.chdir(here)
    if not os.environ.get("LONG") or not (source / "competition.toml").exists():
        print("quick_minutes, default_minutes: only with LONG=1 and COMP=name, a competition in input/")
        return
    for name in ("quick", "default"):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            minutes(comp, source, name)
            os.chdir(here)


if __name__ == "__main__":
    main()
