"""Sets: named lists of experiments, in `sets.toml` beside the folder of experiments."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, TypeAdapter

from tandem.artifacts.paths import check_name
from tandem.config import toml_files
from tandem.config.toml_files import Section, parse_toml, validate
from tandem.runtime.wrong_values import listed, nearest_first

SETS = "sets.toml"  # the name of the file
Form = TypeAdapter[dict[str, "ExperimentSet"]]


class ExperimentSet(Section):
    """A set of `sets.toml`."""

    about: str  # what it is for
    experiments: list[str] = Field(min_length=1)  # names of files in configs/


Sets = Mapping[str, ExperimentSet]


class Expanded(NamedTuple):
    """What names of experiments and sets stand for.

    names     of experiments, each once, in order
    left_out  {set: its experiments that the competition can't run}
    """

    names: list[str]
    left_out: dict[str, list[str]]


def load_sets(configs: Path, experiments: Collection[str]) -> dict[str, ExperimentSet]:
    """{name: set} of the package, and of the file beside `configs`, whose sets replace those of the same name.

    Raises ValueError that names the file and the key where a set is invalid or has the name of an experiment.
    """
    found: dict[str, ExperimentSet] = {}
    for folder in (toml_files.packaged_configs(), configs):
        file = folder.parent / SETS
        sets = validate(Form(dict[str, ExperimentSet]), parse_toml(file), file) if file.exists() else {}
        for name in sets:
            check_name(f"{file}: set", name)
            if name in experiments:
                raise ValueError(f"{file}: {name} is an experiment, configs/{name}.toml; rename the set")
        found |= sets
    return found


def expand(names: Sequence[str], sets: Sets, fitting: Collection[str], there: Collection[str]) -> Expanded:
    """Each set is replaced by its experiments that fit the competition; other names stay.

    fitting  experiments that the competition can run
    there    all that have a file

    Raises ValueError where a set names an experiment that is not there, or none of it fits.

    >>> small = ExperimentSet(about="A first look.", experiments=["words", "photo"])
    >>> expand(["small", "both"], {"small": small}, ["words", "both"], ["words", "photo", "both"])
    Expanded(names=['words', 'both'], left_out={'small': ['photo']})
    """
    found: list[str] = []
    left_out: dict[str, list[str]] = {}
    for name in names:
        members = sets[name].experiments if name in sets else [name]
        fit = [one for one in members if name not in sets or one in fitting]
        if unknown := [one for one in members if name in sets and one not in (*there, *fitting)]:
            near = listed(nearest_first(unknown[0], sorted(there)))
            raise ValueError(f"sets.toml: {name}.experiments: {unknown[0]} has no file in configs/; {near}")
        if not fit:
            others = [other for other, one in sets.items() if set(one.experiments) & set(fitting)]
            why = f"this competition can run none of {' '.join(members)}"
            raise ValueError(f"the set {name}: {why}; of the sets that it can run, {listed(others)}")
        if len(fit) < len(members):
            left_out[name] = [one for one in members if one not in fit]
        found += fit
    return Expanded(list(dict.fromkeys(found)), left_out)
