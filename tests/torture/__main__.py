"""`make torture MINUTES=60 CAMPAIGNS="kill disk" SEED=1`: the long form of the campaigns, and a table of their faults.

A campaign is a module of this folder with `QUICK` and `LONG`, its numbers of tries, and `run(task) -> Outcome`. The
time is shared equally; what one leaves is for the others.
"""

import argparse
import importlib
import pkgutil
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from torture.campaign import Outcome, Task


def campaigns() -> dict[str, ModuleType]:
    """{name: module}, by name."""
    here = [str(Path(__file__).parent)]
    modules = (importlib.import_module(f"torture.{m.name}") for m in pkgutil.iter_modules(here) if m.name[0] != "_")
    return {module.__name__.rpartition(".")[2]: module for module in modules if hasattr(module, "QUICK")}


def main() -> int:
    """Prints each fault as it is found and the table at the end; 1 where there is a fault."""
    known = campaigns()
    parser = argparse.ArgumentParser(prog="torture", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--campaigns", default=" ".join(known))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    wanted = args.campaigns.split()
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"no such campaign: {' '.join(unknown)}; there are: {' '.join(known)}")
    end, lines = time.monotonic() + 60 * args.minutes, []
    for i, name in enumerate(wanted):
        begin = time.monotonic()
        print(f"{name}: at most {known[name].LONG} tries", flush=True)
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            task = Task(Path(folder), args.seed, known[name].LONG, begin + (end - begin) / (len(wanted) - i))
            outcome: Outcome = known[name].run(task)
        for fault in outcome.faults:
            print(f"  fault: {fault}")
        more = "; ".join(f"{key} {value}" for key, value in outcome.figures.items())
        minutes = (time.monotonic() - begin) / 60
        lines.append((f"| {name} | {outcome.tries} | {len(outcome.faults)} | {minutes:.1f} | {more} |", outcome))
    print("| campaign | tries | faults | minutes | |", "|---|---|---|---|---|", *(line for line, _ in lines), sep="\n")
    return int(any(outcome.faults or not outcome.tries for _, outcome in lines))


if __name__ == "__main__":
    sys.exit(main())
