"""Clean-cache: features/C/*.npy, build/C/pixels -> nothing: what needs them makes them again."""

import shutil
from argparse import Namespace
from pathlib import Path

from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.graph.lock import only_run


def main(args: Namespace) -> None:
    require_competition(args.comp)
    paths = Paths(args.comp)
    with only_run(paths):
        for folder, what in ((paths.features("_", "_").parent, "*.npy"), (paths.pixels("_").parent, "*")):
            print(f"{folder}: {_remove(folder, what)}")
    print("All results stay current; what is trained from now on has its features made again (make plan shows it).")


def _remove(folder: Path, what: str) -> str:
    files = [file for file in folder.glob(what) if file.is_file()]
    started = [file for one in folder.glob("*.partial") for file in one.rglob("*") if file.is_file()]
    freed = sum(file.stat().st_blocks * 512 for file in (*files, *started))
    for file in files:
        file.unlink()
    for one in folder.glob("*.partial"):
        shutil.rmtree(one)
    number = len(files)
    return f"{number} file{'s' * (number != 1)} removed, {freed / 1e6:,.0f} MB free" if freed else "nothing to remove"
