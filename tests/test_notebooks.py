"""The notebooks of examples/ run from the first cell to the last, on a small competition."""

import contextlib
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tandem.artifacts.paths import Paths
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import steps

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = {  # instead of the first cell
    "results": 'comp, root, experiment = "small", ".", "looks"',
    "train": 'comp, root, first, second = "small", ".", "looks", "words"',
    "own_predictions": 'comp, root, other = "small", ".", "looks"',
}


@pytest.fixture
def folder(small, tmp_path, monkeypatch) -> Path:
    """A copy of the trained small competition, and a home for what Jupyter and matplotlib write."""
    shutil.copytree(small.root, tmp_path, dirs_exist_ok=True)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


def execute(name: str, folder: Path) -> str:
    """Runs the notebook in a kernel of this Python; all that its cells show, as text."""
    book = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    first = next(cell for cell in book.cells if cell.cell_type == "code")
    assert first.source.startswith(SETTINGS[name].split(" = ")[0].split(", first")[0])
    first.source = SETTINGS[name]
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    outputs = (output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs)
    return "\n".join(str(output.get("data", output.get("text"))) for output in outputs)


def stale(folder: Path, *names: str, stack: str = "stack") -> list[str]:
    """What `make submit` would run."""
    with contextlib.chdir(folder):
        graph = Graph.open(Paths("small"))
        return [step.title for step in steps(graph, graph.goal("submit", names, stack), names)]


def test_every_notebook_is_saved_without_outputs():
    files = sorted(EXAMPLES.glob("*.ipynb"))
    assert {file.stem for file in files} == set(SETTINGS)
    for file in files:
        cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_the_notebook_of_results_runs(folder):
    shown = execute("results", folder)
    assert "log_loss" in shown and "<iframe srcdoc=" in shown and "image/png" in shown


@pytest.mark.slow
def test_the_notebook_that_trains_leaves_nothing_for_make_to_do(folder):
    for name in ("models", "oof"):
        shutil.rmtree(folder / name)
    shown = execute("train", folder)
    assert "submissions/small/stack.csv" in shown and "image/png" in shown and "<iframe" in shown
    assert stale(folder, "looks", "words") == []


@pytest.mark.slow
def test_the_notebook_that_adds_predictions_leaves_nothing_for_make_to_do(folder):
    pytest.importorskip("tandem.stages.add_predictions")
    shown = execute("own_predictions", folder)
    assert "submissions/small/with_bayes.csv" in shown
    assert stale(folder, "looks", "bayes", stack="with_bayes") == []
