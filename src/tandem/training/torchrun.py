"""`torchrun --nproc-per-node=2 -m tandem train COMP`: several processes train each network of finetune and fusion.

The first process runs the command, and writes all files; the others train with it what it tells them to.
"""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from torch import distributed as dist

from tandem.models.data_parallel import processes, together
from tandem.runtime.resources import THREADS
from tandem.runtime.torch_setup import device, use_threads

WAIT = timedelta(days=7)  # for the first process, which also computes features and stacks


def run_by_all(run: Callable[[], int]) -> int:
    """Calls `run` in the first process; the exit status."""
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    os.environ.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // here)))
    use_threads()
    # imported later, its functions would keep the group as the default of an argument: the threads of gloo would still
    # run as Python ends, which ends the process with SIGABRT
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group("cpu:gloo,cuda:nccl" if device().type == "cuda" else "gloo", timeout=WAIT)
    try:
        if processes().rank:
            return _train_with_first()
        try:
            status = run()
        except RuntimeError as error:
            if "onnection" not in str(error):  # gloo: Connection closed by peer
                raise
            raise OSError("another process of torchrun ended; the same command continues from here") from error
        # after an error nothing is said: the others may be within a step, where they would not hear it; they end as the
        # connection does
        with suppress(RuntimeError):  # the others ended already
            processes().from_first(None)
        return status
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _train_with_first() -> int:
    """Trains each fold that the first process trains, until there are no more; writes and prints nothing."""
    with open(os.devnull, "w") as nowhere:
        sys.stdout, printed = nowhere, sys.stdout
        try:
            while (work := processes().from_first(None)) is not None:
                job, k = work
                with together():
                    job.fitted(k)
            # the first process closes the connection; it would be ended if this one did so while it still sends
            with suppress(RuntimeError):
                processes().from_first(None)
        except RuntimeError as error:
            if "onnection" not in str(error):
                raise
            return 1  # the first process ended; it says why
        finally:
            sys.stdout = printed
    return 0
