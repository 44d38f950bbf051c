"""`make audit`: pip-audit on the locked versions; 0: none is known to be weak, 1: some are, 3: not all were asked."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from supply_chain.lock import ROOT

NOT_ASKED = 3
LOCKS = ("requirements.lock", "requirements-dev.lock")
MISSING = "pip-audit is not installed; run: .venv/bin/python -m pip install pip-audit, then make audit"


def verdict(answer: str, errors: str) -> tuple[int, list[str]]:
    """The exit status and lines, from pip-audit's JSON: it ends with 0 too where the index knew no package at all."""
    try:
        packages = json.loads(answer)["dependencies"]
    except ValueError:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        return NOT_ASKED, [f"pip-audit could not finish, so nothing is known: {last}"]
    weak = [f"{p['name']} {p['version']}: {v['id']}" for p in packages for v in p.get("vulns", [])]
    skipped = [p for p in packages if "skip_reason" in p]
    if weak:
        last = f"{len(weak)} known weaknesses; choose newer versions in requirements*.txt, then make lock"
        return 1, [*weak, last]
    if skipped or not packages:
        why = f" ({skipped[0]['skip_reason']})" if skipped else ""
        return NOT_ASKED, [
            f"{len(skipped)} of {len(packages)} packages could not be asked about{why}: try another network"
        ]
    return 0, [f"{len(packages)} packages, no known weakness"]


def main() -> int:
    """Asks the index's own list of weaknesses; installs nothing."""
    tool = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if tool is None:
        print(MISSING, file=sys.stderr)
        return NOT_ASKED
    files = [part for lock in LOCKS for part in ("-r", str(ROOT / lock))]
    options = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--timeout=30", "--format=json"]
    run = subprocess.run([tool, *options, *files], capture_output=True, text=True)
    status, lines = verdict(run.stdout, run.stderr)
    print(*lines, sep="\n", file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
