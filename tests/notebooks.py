"""Executes a notebook of make kernel in a process without network, on a tree like Kaggle's."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbformat

OFFLINE = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    print("online")
except OSError as error:
    print("offline:", error)
"""
EXECUTE = """
import sys, nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=sys.argv[2])
NotebookClient(book, km=manager, timeout=300, resources={"metadata": {"path": sys.argv[3]}}).execute()
for cell in book.cells:
    for output in cell.get("outputs", ()):
        print(output.get("text", ""), end="")
"""
REFUSE = """
import socket
def refused(self, address, *rest, **named):
    raise OSError(101, "Network is unreachable (refused in this test)")
if True:
    connect = socket.socket.connect
    socket.socket.connect = lambda self, address: (connect if self.family == socket.AF_UNIX else refused)(self, address)
"""


def execute(notebook: Path, root: Path, *more: str) -> str:
    """Runs all cells in a process without network, then cells with `more`, and one that tries to connect; what they
    print."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    book = nbformat.read(notebook, as_version=4)
    book.cells += map(nbformat.v4.new_code_cell, (*more, OFFLINE))
    nbformat.write(book, home / "book.ipynb")
    env = os.environ | {"TANDEM_KAGGLE_ROOT": str(root), "XDG_CACHE_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    env |= dict.fromkeys(("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"), str(home))
    command = [sys.executable, "-c", EXECUTE, str(home / "book.ipynb"), str(home / "ipc"), str(root / "working")]
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:
        command = ["unshare", "-rn", *command]
    else:
        (home / "sitecustomize.py").write_text(REFUSE)
        env["PYTHONPATH"] = str(home)
    run = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "offline: " in run.stdout
    return run.stdout


def write_rows(file: Path, *rows: tuple[str, ...]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)
