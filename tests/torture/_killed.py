"""A process that has imported all that a run needs, and forks a child for each run it is told to begin, in a second.

Each line of its input is an Order in JSON; it answers with the number of the child's process group, and when the child
has ended with its exit status, as `subprocess` counts it, and the most MB that one of its processes held.
"""

import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = ("check", "folds", "features", "train", "stack", "decode", "submit")
HOWS = ("torn", "before", "after")  # a file is half written, written but not in its place, in its place


@dataclass(frozen=True)
class Order:
    """A run to begin.

    folder   its working folder
    log      where its output goes
    dies_at  it kills its whole group where its processes together write this file; 0: nowhere
    how      one of HOWS
    """

    folder: str
    log: str
    dies_at: int = 0
    how: str = "before"

    def to_json(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def serve(modules: list[str]) -> None:
    """Until its input ends."""
    for name in modules:
        if name == "timm":
            import_module("tandem.runtime.torch_setup").import_timm()  # which mends torchvision first
        import_module(name)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands ignore it,
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and those of nohup this one; so would the runs
    for line in sys.stdin:
        order = Order(**json.loads(line))
        begun, told = os.pipe()
        if not (child := os.fork()):
            os.close(begun)
            sys.stdin = open(os.devnull)  # noqa: SIM115
            status = _run(order, told)
            sys.stdout.flush()
            sys.exit(status)
        os.close(told)
        os.read(begun, 1)
        os.close(begun)
        print(child, flush=True)
        _, status, used = os.wait4(child, 0)
        print(os.waitstatus_to_exitcode(status), used.ru_maxrss // 1024, flush=True)


def _run(order: Order, told: int) -> int:
    """The status of `tandem submit small`, whose processes are forked ones too."""
    from tandem.__main__ import main
    from tandem.runtime import processes, signals

    os.setpgid(0, 0)
    os.chdir(order.folder)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    temporary = Path(order.folder, "temporary")
    temporary.mkdir(exist_ok=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    context = multiprocessing.get_context("fork")
    written = context.Value("i", 0)
    for name in ("replace", "rename"):
        setattr(os, name, _counted(getattr(os, name), written, order))
    processes.get_context = lambda kind: context  # type: ignore[assignment]
    os.register_at_fork(after_in_child=signals.ignore)
    with signals.stop_on_signals():
        os.write(told, b".")
        os.close(told)
        status = main(["submit", "small"])
    if not status:
        Path(order.log).with_suffix(".written").write_text(str(written.value))
    return status


def _counted(move: Callable[..., None], written: Any, order: Order) -> Callable[..., None]:
    """Moves a file to its place, and kills the group at the one whose turn it is."""

    def moved(source: Any, target: Any, **more: Any) -> None:
        with written.get_lock():
            written.value += 1
            dies = written.value == order.dies_at
        if dies and order.how == "torn" and os.path.isfile(source):
            os.truncate(source, os.path.getsize(source) // 2)
        if dies and order.how != "after":
            os.killpg(0, signal.SIGKILL)
        move(source, target, **more)
        if dies:
            os.killpg(0, signal.SIGKILL)

    return moved


if __name__ == "__main__":
    serve(sys.argv[1:])
