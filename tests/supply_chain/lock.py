"""`make lock`: requirements*.txt -> requirements*.lock, exact versions with the SHA-256 of every file of a release.

They hold for every platform and Python from 3.11 on. torch, torchvision and what only torch pulls in have no hashes
there: their builds differ by machine. torch and torchvision are exact in requirements.txt, the rest in torch itself.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT_HASH = re.compile(r"torch|torchvision|triton|cuda-.*|nvidia-.*")
SOURCES = ("requirements", "requirements-ray", "requirements-tracking", "requirements-dev")
HEADER = (
    "# made by `make lock` from {}.txt; torch, torchvision and CUDA have no hashes: their builds differ by machine\n"
)


def canonical(name: str) -> str:
    """As package indices write it.

    >>> canonical("Jinja2"), canonical("typing_extensions")
    ('jinja2', 'typing-extensions')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, tuple[str, list[str]]]:
    """{requirement with its marker: (canonical name, SHA-256 sums)} of a requirements file with hashes.

    >>> locked("a==1 ; sys_platform == 'win32' \\\\\\n    --hash=sha256:00 \\\\\\n    --hash=sha256:11\\n")
    {"a==1 ; sys_platform == 'win32'": ('a', ['00', '11'])}
    """
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = line.split(" --hash=")[0].strip()
            found[requirement] = (canonical(requirement.split("==")[0]), re.findall(r"--hash=sha256:(\w+)", line))
    return found


def resolve(files: list[str]) -> dict[str, tuple[str, list[str]]]:
    """What the requirements in these files need, all of them together."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    run = subprocess.run([*command, "--python-version", "3.11", *files], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"error: uv could not resolve {' '.join(files)}; nothing was changed")
    return {r: (name, sums) for r, (name, sums) in locked(run.stdout).items() if not WITHOUT_HASH.fullmatch(name)}


def main() -> None:
    """Resolves the first file, then each other one together with it; these leave out what the first has."""
    first, *others = [f"{source}.txt" for source in SOURCES]
    found = [resolve([first]), *(resolve([first, other]) for other in others)]
    for i, source in enumerate(SOURCES):
        before = found[0] if i else {}
        new = {requirement: sums for requirement, (_, sums) in found[i].items() if requirement not in before}
        lines = [" \\\n    ".join([r, *(f"--hash=sha256:{s}" for s in sums)]) + "\n" for r, sums in new.items()]
        (ROOT / f"{source}.lock").write_text(HEADER.format(source) + "".join(lines), encoding="utf-8")
        print(f"{source}.lock: {len(new)} packages")


if __name__ == "__main__":
    main()
