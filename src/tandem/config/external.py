"""External experiments: predictions that were made elsewhere, kept in `input/COMP/external/NAME/`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from tandem.artifacts.paths import check_name
from tandem.config.base_experiment import BaseExperiment

OTHER_FOLDS = "other folds"  # mark of predictions whose folds are unknown, or differ from ours


class ExternalExperiment(BaseExperiment):
    """`kind = "external"`: out-of-fold and test predictions without models.

    >>> ExternalExperiment(kind="external").needs_captions
    True
    """

    external: ClassVar[bool] = True
    is_random: ClassVar[bool] = False
    kind: Literal["external"]

    @property
    def reads(self) -> set[str]:
        """Unknown, so as if it read both."""
        return {"image", "caption"}

    @property
    def why_no_new_images(self) -> str:
        return "it is external, only its predictions are known"


def is_external(run: Mapping[str, Any]) -> bool:
    """Whether the predictions of an experiment with this `run.json` were made elsewhere."""
    return bool(run.get("config", {}).get("kind") == "external")


def external_experiments(folder: Path) -> dict[str, ExternalExperiment]:
    """{name: experiment} of the predictions that were added to `input/COMP/external`, sorted by name."""
    names = sorted(file.parent.name for file in folder.glob("[!.]*/oof.parquet"))
    return {check_name(f"{folder}: experiment", name): ExternalExperiment(kind="external") for name in names}
