"""Whether what was trained, scored and decoded still belongs together and to the settings, and what makes it anew."""

from tandem.artifacts.atomic_io import digest, read_json
from tandem.artifacts.paths import Paths


def is_current(paths: Paths, name: str) -> bool:
    """Whether the models, the scores and the settings of what is trained still belong together.

    A changed setting or a training that was broken off leaves old scores beside new models, a member that was trained
    again an old stack beside it. A bundle's were packed together, and say nothing of it.
    """
    run = read_json(paths.run(name))
    if "members" in run:
        keys = {member: key for member, key in run["members"].items() if key}
        return all(
            paths.run(member).exists()
            and read_json(paths.run(member)).get("key") == key
            and is_current(paths, member)
            for member, key in keys.items()
        )
    if "key" not in run:
        return True
    folds = [paths.model(name, k, ".json") for k in range(len(run["seconds_per_fold"]))]
    files = [*folds, paths.experiment_config(name)]
    if not all(file.exists() for file in files):
        return False
    trained = digest([read_json(file)["key"] for file in folds])
    return trained == run["key"] and read_json(files[-1]) == run["config"]


def is_decoded(paths: Paths, name: str) -> bool:
    """Whether its decoder and scores are of the competition's metric as it is now; a bundle says nothing of it."""
    if not paths.metric_config.exists():
        return True
    recipe = read_json(paths.thresholds(name)) if paths.thresholds(name).exists() else {}
    return all(recipe.get(key) == value for key, value in read_json(paths.metric_config).items())


def made_by(comp: str, name: str) -> str:
    """The command that trains and scores it.

    >>> made_by("coco19", "stack"), made_by("coco19", "fusion")
    ('make submit COMP=coco19', 'make train COMP=coco19 EXPS=fusion')
    """
    return f"make submit COMP={comp}" if name == "stack" else f"make train COMP={comp} EXPS={name}"
