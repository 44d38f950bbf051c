"""A toy competition, trained and packed once for all tests that label with it, docstrings too."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's own default, as TANDEM_THREADS in every test
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
    from tandem.bundling.bundle_writer import write_bundle, write_zip
    from tandem.graph.experiment_dir import Experiments

    folder = tmp_path_factory.mktemp("packed")
    write_bundle(Experiments(trained)["stack"], 0, folder / "toy")
    write_zip(folder / "toy", folder / "toy.zip")
    return folder / "toy.zip"


@pytest.fixture
def bundle_and_photo(packed, tmp_path, monkeypatch):
    """A working folder with `bundle.zip` and `a.jpg`, which examples label with it."""
    import toy

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bundle.zip").symlink_to(packed)
    toy.draw(tmp_path / "a.jpg", blue=False, seed=0)


@pytest.fixture(autouse=True)
def files_of_examples(request, doctest_namespace, monkeypatch):
    """The working folder of a docstring's example: a bundle for Labeler, the toy competition for the API."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    module = request.node.name
    if module == "tandem.inference.labeler.Labeler":
        request.getfixturevalue("bundle_and_photo")
    elif module == "tandem" or module.startswith("tandem.api."):
        import tandem

        doctest_namespace["tandem"] = tandem
        monkeypatch.chdir(request.getfixturevalue("trained").root)
