"""The locks hold every package with its hashes; licences, weaknesses and other Pythons are answered plainly."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from supply_chain.audit import NOT_ASKED, verdict
from supply_chain.installed import SOURCES, closure, declared
from supply_chain.licences import UNKNOWN, font_licence, rows
from supply_chain.lock import ROOT, WITHOUT_HASH, canonical, locked
from supply_chain.pythons import LIST, interpreter, packages

LOCK = {
    requirement: entry
    for kind in ("", "-ray", "-dev")
    for requirement, entry in locked((ROOT / f"requirements{kind}.lock").read_text(encoding="utf-8")).items()
}
HERE = [r for r in map(Requirement, LOCK) if r.marker is None or r.marker.evaluate()]


def test_every_locked_package_is_exact_and_has_hashes():
    for requirement, (name, sums) in LOCK.items():
        assert [one.operator for one in Requirement(requirement).specifier] == ["=="]
        assert sums
        assert all(len(one) == 64 for one in sums)
        assert not WITHOUT_HASH.fullmatch(name)


def test_the_lock_has_the_versions_of_the_requirements_and_all_that_they_need():
    exact = {canonical(r.name): str(r.specifier) for r in HERE}
    wanted = {name: str(r.specifier) for name, r in declared(*SOURCES).items() if not WITHOUT_HASH.fullmatch(name)}
    assert {name: exact.get(name) for name in wanted} == wanted, "run: make lock"
    needed = {name for name in closure(list(declared(*SOURCES).values())) if not WITHOUT_HASH.fullmatch(name)}
    assert needed <= set(exact), "run: make lock"


def test_the_environment_is_that_of_the_lock():
    assert {r.name: version(r.name) for r in HERE} == {r.name: str(r.specifier)[2:] for r in HERE}


def test_the_lock_of_trackers_has_their_versions_with_hashes():
    lock = locked((ROOT / "requirements-tracking.lock").read_text(encoding="utf-8"))
    wanted = {name: str(r.specifier) for name, r in declared("requirements-tracking.txt").items()}
    exact = {name: str(Requirement(requirement).specifier) for requirement, (name, _) in lock.items()}
    assert {name: exact.get(name) for name in wanted} == wanted, "run: make lock"
    assert all(sums for _, sums in lock.values())
    others = {name: str(Requirement(requirement).specifier) for requirement, (name, _) in LOCK.items()}
    assert {name: version for name, version in exact.items() if others.get(name, version) != version} == {}


def test_torch_has_no_hash_but_one_version():
    pins = {name: str(r.specifier) for name, r in declared("requirements.txt").items() if WITHOUT_HASH.fullmatch(name)}
    assert set(pins) == {"torch", "torchvision"}
    assert all(pin.startswith("==") for pin in pins.values())


def test_a_package_whose_file_was_changed_is_refused(tmp_path):
    wheel = tmp_path / "six-1.17.0-py2.py3-none-any.whl"
    wheel.write_bytes(b"not what was published")
    (entry,) = [sums for requirement, (name, sums) in LOCK.items() if name == "six"]
    (tmp_path / "six.lock").write_text("six==1.17.0 " + " ".join(f"--hash=sha256:{one}" for one in entry) + "\n")
    pip = [sys.executable, "-m", "pip", "--isolated", "download", "--no-index", "--no-deps", "--require-hashes"]
    command = [*pip, "--find-links", str(tmp_path), "-d", str(tmp_path / "out"), "-r", str(tmp_path / "six.lock")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert run.returncode == 1
    assert "DO NOT MATCH THE HASHES" in run.stderr
    assert not (tmp_path / "out" / wheel.name).exists()


def test_every_licence_is_known_also_of_weights_and_fonts():
    found = {name: licence for name, _, licence, _ in rows()}
    assert [name for name, licence in found.items() if licence == UNKNOWN] == []
    assert found["weights: EfficientNet-Lite0, ImageNet"] == "Apache License"
    assert found["font: Font Awesome"] == "SIL Open Font License"


def test_a_font_that_the_readme_does_not_name_is_unknown():
    assert font_licence("Phosphor is licensed under the [MIT License](x).", "Remix Icon") == UNKNOWN


@pytest.mark.parametrize(
    ("dependencies", "status", "line"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages, no known weakness"),
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}], 1, "a 1: CVE-1"),
        (
            [{"name": "a", "skip_reason": "not found"}],
            NOT_ASKED,
            "1 of 1 packages could not be asked about (not found)",
        ),
        ([], NOT_ASKED, "0 of 0 packages could not be asked about"),
    ],
)
def test_an_audit_that_could_ask_about_nothing_does_not_say_that_all_is_well(dependencies, status, line):
    code, lines = verdict(json.dumps({"dependencies": dependencies}), "")
    assert code == status
    assert lines[0].startswith(line)


def test_an_audit_that_failed_says_why():
    assert verdict("", "x\nERROR: no network\n") == (
        NOT_ASKED,
        ["pip-audit could not finish, so nothing is known: ERROR: no network"],
    )


def test_other_pythons_get_no_package_that_needs_torch_and_only_tests_that_exist():
    names = {line.split("==")[0] for line in packages().splitlines()}
    assert {"numpy", "pandas", "pytest"} <= names
    assert names.isdisjoint({"torch", "torchvision", "timm", "sentence-transformers", "open-clip-torch", "ray"})
    assert [file for file in LIST.read_text(encoding="utf-8").split() if not (ROOT / file).exists()] == []


def test_a_python_that_is_not_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert interpreter("3.99") is None


def test_the_kaggle_package_can_be_imported_without_credentials(tmp_path):
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    run = subprocess.run([sys.executable, "-c", "import kaggle"], env=home, capture_output=True, text=True, timeout=60)
    assert "ModuleNotFoundError" not in run.stderr
    assert Path(sys.executable).with_name("kaggle").exists()
