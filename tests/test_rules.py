"""Rules of the code that a reader can rely on, checked on the source itself."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "tandem"
MODULES = sorted(SRC.rglob("*.py"))
# from the top down: a package or top-level module imports only what stands below it
ORDER = (
    "__main__",
    "__init__",
    "api",
    "api_results",
    "stages",
    "bundling",
    "web",
    "explain",
    "inference",
    "training",
    "report",
    "graph",
    "models",
    "features",
    "data",
    "ensemble",
    "decoding",
    "metrics",
    "kaggle_client",
    "config",
    "sample",
    "artifacts",
    "runtime",
    "logits",
    "html",
)
LIGHT_STAGES = ("scores", "plan", "check", "folds", "decode", "submit", "download", "upload", "leaderboard", "journal")
FOLDERS = {"oof", "folds", "submissions", "features", "models", "reports", "build", "input"}

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SRC).as_posix())


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Dotted names of all that a module imports anywhere, `from a import b` as a and a.b."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    """The package or top-level module below `tandem` of a dotted name; "" of a name in `tandem` itself."""
    return name.removeprefix("tandem").lstrip(".").split(".")[0]


def dotted(path: Path) -> str:
    return "tandem." + ".".join(path.relative_to(SRC).with_suffix("").parts)


@every_module
def test_no_module_imports_a_stage(path):
    stages = {name for name in imports(path) if re.match(r"tandem\.stages\.[a-z]|tandem\.stages$", name)}
    assert not stages, f"{path} imports {stages}; move the shared function down"


def test_every_package_has_a_place_in_the_order():
    there = {path.relative_to(SRC).parts[0].removesuffix(".py") for path in MODULES}
    assert there == set(ORDER)


@every_module
def test_imports_point_down(path):
    own = ORDER.index(room(dotted(path)))
    below = {name for name in imports(path) if name.startswith("tandem.") and room(name) in ORDER}
    above = {name for name in below if ORDER.index(room(name)) < own}
    assert not above, f"{path} imports {above}, which stand above it"


def test_no_modules_import_each_other_in_a_circle():
    known = {dotted(path): path for path in MODULES}
    graph = {name: imports(path) & (known.keys() - {name}) for name, path in known.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@every_module
def test_nothing_is_pickled(path):
    packages = {name.split(".")[0] for name in imports(path)}
    assert not packages & {"pickle", "joblib", "dill", "cloudpickle", "shelve"}
    for call in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)):
        options = {k.arg: getattr(k.value, "value", None) for k in call.keywords}
        assert options.get("allow_pickle") is not True, f"{path}:{call.lineno}"
        if ast.unparse(call.func) == "torch.load":
            assert options.get("weights_only") is True, f"{path}:{call.lineno}: torch.load unpickles"


def spelled_folders(path: Path) -> set[str]:
    """Folder names in `... / "oof"`, `"oof" / ...`, `Path("oof/...")` and the table of paths."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found += [node.left, node.right]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Path", "_Place", "_Places")):
            found += node.args
    texts = [node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {text.split("/")[0] for text in texts} & FOLDERS


def test_one_module_spells_folder_names():
    spelled = {path.name: spelled_folders(path) for path in MODULES if spelled_folders(path)}
    assert set(spelled.pop("paths.py")) >= {"oof", "folds", "submissions", "features"}
    # a package's own folder of weights is no folder of ours
    assert {
        name: names for name, names in spelled.items() if (name, names) != ("pretrained_weights.py", {"models"})
    } == {}


@pytest.mark.parametrize("stage", LIGHT_STAGES)
def test_a_light_stage_opens_without_torch(stage):
    heavy = {"torch", "timm", "sklearn", "lightgbm"}
    code = f"import sys, tandem.stages.{stage}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(SRC.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "[]\n", run.stderr


def test_every_stage_of_the_command_line_has_its_module_and_the_other_way_round():
    from tandem.__main__ import STAGES

    modules = {path.stem.removesuffix("_").replace("_", "-") for path in (SRC / "stages").glob("[!_]*.py")}
    assert modules == set(STAGES)


@pytest.mark.parametrize("path", sorted((SRC / "stages").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_stage_says_what_it_reads_and_writes(path):
    summary = ast.get_docstring(tree(path)).split("\n\n")[0]
    assert "->" in summary, f"{path}: begin with 'Name: reads -> writes'"


def test_the_readme_lists_every_package_in_that_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.partition("\nsrc/tandem/")[2].partition("```")[0]
    listed = re.findall(r"^  (\w+)(?:/|\.py) ", tree, re.MULTILINE)
    assert listed == [name for name in ORDER if not name.startswith("_")]


@every_module
def test_every_module_says_what_it_is_about(path):
    module = tree(path)
    assert ast.get_docstring(module) or not module.body, f"{path} has no docstring"


def test_text_is_in_the_fields_terms():
    """Phrases that stood in this project for a term of the field; the right one is beside each."""
    plain = {
        "what the trunks say": "backbone features",
        "blind stack": "stack without captions",
        "a stranger's": "untrusted",
        "whom": "name it",
        "told from the photo": "predicted from image features",
        "is worth": "adds, gains",
        "standing decoder": "default decoder",
        "does without": "needs no",
        "to be had": "largest gain",
    }
    texts = [path for path in SRC.rglob("*") if path.suffix in (".py", ".html", ".js", ".css")]
    texts += [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("configs/*.toml"), ROOT / "Makefile"]
    found = []
    for path in texts:
        words = " ".join(re.sub(r"[#*\"]", " ", path.read_text(encoding="utf-8")).split()).lower()
        wrong = [phrase for phrase in plain if re.search(rf"\b{phrase}\b", words)]
        found += [f"{path.relative_to(ROOT)}: {phrase!r} -> {plain[phrase]!r}" for phrase in wrong]
    assert not found, "\n".join(found)
