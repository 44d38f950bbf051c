"""`make test-pythons`: the test files of tests/without_torch.txt on other Pythons, where these are installed.

Each has an environment of its own, build/pythons/VERSION, with the locked packages that need no torch.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from supply_chain.installed import SOURCES, closure, declared
from supply_chain.lock import ROOT, locked

VERSIONS = ("3.12", "3.13")
TOOLS = ("pytest", "pytest-xdist", "hypothesis")
LIST = ROOT / "tests" / "without_torch.txt"


def interpreter(version: str) -> str | None:
    """One on PATH that answers with this version, or pyenv's newest; None where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    newest = sorted(pyenv.glob(f"{version}.*/bin/python"), key=lambda path: path.stat().st_mtime, reverse=True)
    for python in (shutil.which(f"python{version}"), *map(str, newest)):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if python and subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip() == version:
            return python
    return None


def packages() -> str:
    """The text of a requirements file with hashes: what the tests need, without what needs torch."""
    needed = [r for name, r in declared("requirements.txt").items() if "torch" not in closure([r])]
    wanted = closure([*needed, *(declared(*SOURCES)[name] for name in TOOLS)])
    locks = [locked((ROOT / f"requirements{kind}.lock").read_text(encoding="utf-8")) for kind in ("", "-dev")]
    lines = [
        " ".join([requirement, *(f"--hash=sha256:{one}" for one in sums)])
        for lock in locks
        for requirement, (name, sums) in lock.items()
        if name in wanted
    ]
    return "\n".join([*lines, ""])


def environment(python: str, folder: Path, text: str) -> Path:
    """The Python of an environment with these packages; made again where they changed."""
    done, inside = folder / "requirements.txt", folder / "bin" / "python"
    if not done.exists() or done.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        partial = folder / "requirements.partial.txt"
        partial.write_text(text, encoding="utf-8")
        pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(partial)], check=True)
        partial.replace(done)
    return inside


def main() -> int:
    """0 where every installed version passes, or none is installed."""
    files, text, failed = LIST.read_text(encoding="utf-8").split(), packages(), False
    for version in VERSIONS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not installed, passed over")
            continue
        inside = environment(python, ROOT / "build" / "pythons" / version, text)
        print(f"Python {version}: {len(files)} test files", flush=True)
        run = subprocess.run([str(inside), "-m", "pytest", "-n", "2", "--dist", "loadfile", *files], cwd=ROOT)
        failed |= run.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
