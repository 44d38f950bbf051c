"""A toy competition, trained and packed once for all tests that label with it, docstrings too."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
sys.path.append(str(Path(__file__).parent / "tests"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The Paths of tests/toy.py, trained: not to be changed."""
    import toy

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        return toy.make(tmp_path_factory.mktemp("trained") / "toy")


@pytest.fixture(scope="session")
def packed(trained, tmp_path_factory) -> Path:
    """The zip of its stack."""
    from tandem.bundling.bundle_writer import fill, write_zip

    folder = tmp_path_factory.mktemp("packed")
    fill(trained, "stack", 0, folder / "toy")
    write_zip(folder / "toy", folder / "toy.zip")
    return folder / "toy.zip"


@pytest.fixture(autouse=True)
def files_of_examples(request, doctest_namespace, tmp_path, monkeypatch):
    """The working folder of a docstring's example: the toy competition, or `bundle.zip` and `a.jpg` for Labeler."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    module = request.node.name
    if module == "tandem.inference.labeler.Labeler":
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        add_files(Path(), request.getfixturevalue("packed"))
    elif module == "tandem" or module.startswith("tandem.api."):
        import tandem

        doctest_namespace["tandem"] = tandem
        monkeypatch.chdir(request.getfixturevalue("trained").root)


def add_files(folder: Path, bundle: Path) -> None:
    """`bundle.zip` and `a.jpg`, which examples label with it."""
    import toy

    (folder / "bundle.zip").symlink_to(bundle)
    toy.draw(folder / "a.jpg", blue=False, seed=0)
