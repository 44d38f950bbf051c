"""Where units of work run: ENGINE=local, processes of this machine, or ENGINE=ray, the nodes of a Ray cluster."""

import os

from tandem.runtime.executor import LocalPool
from tandem.runtime.resources import ENGINE
from tandem.runtime.wrong_values import unknown

ENGINES = ("local", "ray")


def chosen_engine() -> type[LocalPool]:
    """That of ENGINE=: "local", the default, or "ray"; raises WrongValue for another."""
    name = os.environ.get(ENGINE) or "local"
    if name not in ENGINES:
        raise unknown("ENGINE", name, "there is no such engine", list(ENGINES))
    if name == "local":
        return LocalPool
    from tandem.runtime.ray_engine import RayCluster  # loads Ray

    return RayCluster
