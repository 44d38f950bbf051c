"""Clean: all that was built for a competition -> nothing; its input stays."""

import shutil
from argparse import Namespace
from pathlib import Path

from tandem.artifacts.paths import Paths
from tandem.graph.lock import only_run


def main(args: Namespace) -> None:
    """Raises ValueError where a run of this competition is going on."""
    paths = Paths(args.comp)
    with only_run(paths, wait=False):
        removed = [str(path) for path in built(paths) if _remove(path)]
    print(f"removed: {' '.join(removed)}" if removed else f"nothing was built for {paths.comp!r}")


def built(paths: Paths) -> list[Path]:
    """The files and folders of the stages."""
    in_folders = (paths.features("_", "_"), paths.models_dir("_"), paths.experiment("_"), paths.submission("_"))
    of_comp = [path.parent for path in (*in_folders, paths.report)]
    return [paths.build, *of_comp, paths.folds, paths.folds_record, paths.bundle]


def _remove(path: Path) -> bool:
    """Whether there was one."""
    if path.is_dir():
        shutil.rmtree(path)
        return True
    there = path.exists()
    path.unlink(missing_ok=True)
    return there
