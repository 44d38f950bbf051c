"""What a wheel carries: code, pages, templates, the experiments of configs/, the command and its dependencies."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tandem.config.load_experiments import load_experiment
from tandem.config.toml_files import base_file, config_files, packaged_configs

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "tandem"


def python(folder: Path, code: str, *path: Path) -> str:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "requirements.txt", "README.md", "LICENSE", "sets.toml"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    python(folder, "from setuptools.build_meta import *; build_wheel('dist'); build_sdist('dist')")
    return next((folder / "dist").glob("*.whl"))


def test_a_wheel_has_every_file_of_the_package_and_every_config(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tandem/")}
    files = [file for file in SRC.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    expected = {file.relative_to(SRC.parent).as_posix() for file in files}
    expected |= {f"tandem/default_configs/{file.name}" for file in (ROOT / "configs").glob("*.toml")} | {
        "tandem/sets.toml"
    }
    assert names == expected
    assert "tandem/py.typed" in names


def test_a_source_distribution_has_the_configs_too(wheel):
    (archive,) = wheel.parent.glob("*.tar.gz")
    shutil.unpack_archive(archive, wheel.parent / "source", filter="data")
    packed = {file.name for file in wheel.parent.glob("source/*/configs/*.toml")}
    assert packed == {file.name for file in (ROOT / "configs").glob("*.toml")}


def test_a_wheel_declares_the_command_and_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    about = {name.rpartition("/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
    assert "tandem = tandem.__main__:main" in archive.read(about["entry_points.txt"]).decode()
    needed = re.findall(r"^Requires-Dist: (.*)$", archive.read(about["METADATA"]).decode(), re.MULTILINE)
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert needed == [line for line in lines if line and not line.startswith("#")]


def test_an_installed_package_finds_its_own_configs(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from pathlib import Path; from tandem.config.toml_files import config_files\n"
        "from tandem.config.load_experiments import load_experiment\n"
        "from tandem.config.sets import load_sets\n"
        "files = config_files(Path('configs')); load_experiment(files['fusion_pseudo']); print(*files)\n"
        "assert 'quick' in load_sets(Path('configs'), files)"
    )
    printed = python(tmp_path, code, tmp_path / "site")
    assert printed.split() == sorted(file.stem for file in (ROOT / "configs").glob("*.toml"))


def test_a_file_of_the_working_folder_wins_over_the_packages(tmp_path):
    own = tmp_path / "concat.toml"
    own.write_text('kind = "tfidf"\n')
    (tmp_path / "mine.toml").write_text('base = "text_tfidf"\n')
    files = config_files(tmp_path)
    assert files["concat"] == own
    assert files["fusion"] == packaged_configs() / "fusion.toml"
    assert list(files) == sorted({file.stem for file in (ROOT / "configs").glob("*.toml")} | {"mine"})


def test_a_base_is_looked_for_beside_the_file_and_then_in_the_package(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "text_tfidf"\nseed = 3\n')
    assert base_file(mine, "text_tfidf") == packaged_configs() / "text_tfidf.toml"
    assert load_experiment(mine).seed == 3
    beside = tmp_path / "text_tfidf.toml"
    beside.write_text('kind = "tfidf"\n')
    assert base_file(mine, "text_tfidf") == beside
    with pytest.raises(ValueError, match=r"mine\.toml: base: there is no file .*none\.toml"):
        base_file(mine, "none")


def test_every_package_that_the_code_imports_is_declared():
    declared = {
        re.split(r"[=<>]", line)[0].strip().lower().replace("_", "-")
        for file in ("requirements.txt", "requirements-ray.txt", "requirements-tracking.txt")
        for line in (ROOT / file).read_text().splitlines()
        if line and not line.startswith("#")
    }
    imported = set()
    for path in (ROOT / "src" / "tandem").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    installed = {"mlflow": ["mlflow-skinny"]} | dict(packages_distributions())  # an optional one may not be here
    outside = imported - set(sys.stdlib_module_names) - {"tandem"}
    missing = {
        name for name in outside if not {d.lower().replace("_", "-") for d in installed.get(name, [name])} & declared
    }
    assert not missing, f"add to requirements.txt, or to a file of optional ones: {missing}"
