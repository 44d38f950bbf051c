"""The leak test of predictions that were made elsewhere; its result is kept until predictions change."""

from collections.abc import Iterator
from typing import Any

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.config import method_versions as version
from tandem.graph.experiment_dir import ExperimentDir, Experiments, same_rows


def leak_warnings(experiments: Experiments) -> Iterator[str]:
    """A line for each current external experiment with an alarm; of others the rows may have changed."""
    for one in experiments.scored():
        if one.is_external and not one.stale_reason and (found := leak_result(one)["warning"]):
            yield f"warning: {one.name} {found}"


def leak_result(external: ExperimentDir) -> dict[str, Any]:
    """The content of leak_test.json: `warning`, "" for none, and the numbers of it and of the members trained here."""
    experiments, paths = external.experiments, external.paths
    trained = [one for one in experiments.scored() if not one.is_external and not one.is_stack]
    others = {one.name: one for one in trained if not one.stale_reason}
    keys = {name: one.run.get("key") for name, one in (others | {external.name: external}).items()}
    key, file = digest([keys, version.EXTERNAL]), paths.leak_test(external.name)
    if file.exists() and (found := read_json(file)).get("key") == key:
        return found
    from tandem.data.labelled_rows import read_labelled_rows  # make scores needs neither of them
    from tandem.ensemble.leak_test import confidence, leak_warning

    rows, numbers = read_labelled_rows(paths), {}
    for name, one in {external.name: external, **others}.items():
        oof, test = one.oof(), one.test()
        if same_rows(oof, rows.names, rows.fold_digest):
            test_proba = None if test is None else test.proba
            numbers[name] = confidence(oof.aligned_to(rows.ids), test_proba, rows.y, rows.known)
    own = numbers.pop(external.name, None)
    shown = {name: vars(found) for name, found in numbers.items()}
    warning = leak_warning(own, numbers) if own else ""
    result = {"key": key, "warning": warning, "own": own and vars(own), "others": shown}
    write_json(file, result)
    return result
