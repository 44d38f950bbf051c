"""The experiments of a competition, each opened once: their files, what they read, and why they are stale."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from tandem.artifacts.made_files import MadeFiles
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, load_competition
from tandem.config.toml_files import config_files
from tandem.graph.keys import NONE, STACK, decoder_settings, model_name, read_record, reason
from tandem.graph.trained_files import TrainedFiles
from tandem.runtime.wrong_values import nearest_first, unknown

if TYPE_CHECKING:  # imported where they are used: `make scores` needs none of them
    import numpy as np

    from tandem.artifacts.predictions import Predictions
    from tandem.data.labelled_rows import LabelledRows
    from tandem.decoding import Rule
    from tandem.decoding.scoring import RowsApart
    from tandem.graph.declared_stages import Graph


TUNED = "tuned on these folds"  # a mark


class ExperimentDir(TrainedFiles):
    """One experiment, or a stack, among those of its competition.

    The content of a bundle was packed together and is never stale.
    """

    def __init__(self, experiments: "Experiments", name: str) -> None:
        super().__init__(experiments.paths, name)
        self.experiments = experiments

    @cached_property
    def reads(self) -> frozenset[str]:
        """Which of `image` and `caption` its predictions depend on."""
        own = [member for member in self.members if member not in self.unable]
        configs = [self.sibling(member).config for member in own] if self.is_stack else [self.config]
        return frozenset().union(*(config.reads for config in configs))

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Why its out-of-fold score may be too high, as tables show it; of a stack, what its members say."""
        n = self.scores.get("labels_corrected", 0) if self.is_scored else 0
        return (*self._own_marks, *((f"{n:,} label{'s' * (n > 1)} corrected",) if n else ()))

    @property
    def _own_marks(self) -> tuple[str, ...]:
        """Those that do not depend on the labels it was scored on."""
        if self.is_stack:
            return tuple(dict.fromkeys(mark for member in self.members for mark in self.sibling(member)._own_marks))
        run = self.run if self.is_trained else {}
        tuned = run.get("config", {}).get("tuned") == self.paths.comp
        return (*run.get("marks", ()), *((TUNED,) if tuned else ()))

    def captioned(self, split: str, ids: Sequence[str]) -> "np.ndarray":
        """(n,) bool: rows with a caption; all, where its predictions do not depend on captions, or are given."""
        from tandem.data.split_tables import read_captioned

        found = read_captioned(self.paths, split, ids)
        if not self.is_stack and (self.is_external or "caption" not in self.reads):
            return found | True
        return found

    def rows_apart(self, rows: "LabelledRows", rule: "Rule", threads: int) -> "RowsApart | None":
        """The training rows without a caption, and the decoders for them where it predicts without captions; None where
        there are no such rows."""
        from tandem.artifacts.contributions import NO_CAPTION
        from tandem.decoding import NestedCV
        from tandem.decoding.scoring import RowsApart

        missing = ~self.captioned("train", rows.ids)
        if not missing.any():
            return None
        proba = self.oof_without(NO_CAPTION, rows)
        cv = None if proba is None else NestedCV(proba, rows.y, rows.fold, rule, threads, rows.group, rows.known)
        return RowsApart(missing, None if cv is None else cv.prepare())

    def sibling(self, name: str) -> "ExperimentDir":
        """Another experiment of the same competition."""
        return self.experiments[name]

    @property
    def command(self) -> str:
        """The command that trains and scores it.

        >>> Experiments(Paths("coco19"))["fusion"].command
        'make train COMP=coco19 EXPS=fusion'
        """
        return command_for(self.paths.comp, self.name, self.is_trained and self.is_stack)

    # ---- is it stale?

    @cached_property
    def stale_reason(self) -> str:
        """Why its models do not match the settings, the data or its members; "" where they do."""
        if not self.is_trained:
            return "it is not trained"
        made = self.experiments.made
        if why := made.why_changed_below(self.paths.experiment(self.name), self.paths.models_dir(self.name)):
            return why
        if "inputs" not in self.run:  # packed together in a bundle
            return ""
        if self.is_stack:
            return self._stale_stack()
        graph = self.experiments.graph
        return self._stale_external(graph) if self.is_external else self._stale_models(graph)

    def _stale_stack(self) -> str:
        for member, key in self.run["members"].items():
            trained = self.sibling(member)
            if not trained.is_trained:
                return f"its member {member} was removed"
            if trained.run.get("key") != key:
                return f"its member {member} was trained again since"
            if trained.stale_reason:
                return f"its member {member}: {trained.stale_reason}"
        made = self.run["inputs"]
        now = self._groups(made)
        return _changed({name: made[name] for name in now}, now)

    def _stale_models(self, graph: "Graph") -> str:
        models = list(product(self.folds, range(self.config.seeds)))
        records = {model: read_record(self.paths.model(self.name, model[0], ".json", model[1])) for model in models}
        if any(record.get("key") != self.run["inputs"].get(model_name(*model)) for model, record in records.items()):
            return "its training was interrupted"
        rows = {"labels": graph.sources.table("train.labels"), "fold map": graph.sources.fold_map}
        known = self.name in graph.experiments  # else its file in configs/ was deleted
        if NONE in rows.values():  # checked tables or folds were deleted: only settings can be compared
            if not known:
                return ""
            file, now = f"configs/{self.name}.toml", graph.experiments[self.name].model_dump(mode="json")
            return _changed({file: self.run["config"]}, {file: now})
        if known and (seeds := graph.experiments[self.name].seeds) != self.config.seeds:
            return f"configs/{self.name}.toml seeds {self.config.seeds} -> {seeds}"
        for model, record in records.items():
            made = record["inputs"] if known else {key: record["inputs"].get(key) for key in rows}
            if why := _changed(made, graph.fold(self.name, *model).inputs if known else rows):
                return why
        return ""

    def _stale_external(self, graph: "Graph") -> str:
        if self.name not in graph.experiments:
            return f"{self.paths.external_oof(self.name)} was removed"
        now = graph.oof(self.name).inputs
        checked = NONE not in (now["labels"], now["fold map"])  # else these were deleted
        made = self.run["inputs"]
        compared = [name for name in now if checked or name not in ("labels", "fold map")]
        return _changed({name: made.get(name) for name in compared}, {name: now[name] for name in compared})

    def require_models(self) -> "ExperimentDir":
        """Raises ValueError where it can't label new images."""
        if self.is_stack and set(self.members) <= set(self.unable):
            features = any(self.sibling(member).config.features for member in self.members)
            which = " or read features that you added" if features else ""
            raise ValueError(
                f"all members of {self.name!r} are external{which}: it can't label new images; add members that can: "
                f"make submit COMP={self.paths.comp}"
            )
        if not self.is_stack and (why := self.config.why_no_new_images):
            raise ValueError(f"{self.name!r} can't label new images: {why}")
        return self

    @cached_property
    def decoder_stale_reason(self) -> str:
        """Why its decoder and scores do not match its predictions or the competition; "" where they do."""
        if not self.is_scored:
            return "it is not scored"
        if why := self.experiments.made.why_changed_below(self.paths.experiment(self.name)):
            return why
        made = self.thresholds.get("inputs")
        if made is None:  # packed together in a bundle
            return ""
        if made["predictions"] != self.run.get("key"):
            return "it was trained again since it was scored"
        now = decoder_settings(self.experiments.competition, self.paths.input) | self._groups(made)
        return _changed({name: made.get(name) for name in now}, now)

    def _groups(self, made: Mapping[str, Any]) -> dict[str, str]:
        """The digest of the groups of near-duplicates, where `made` depends on one; empty where there are no folds."""
        groups = self.experiments.groups if "groups" in made else NONE
        return {} if groups == NONE else {"groups": groups}

    @property
    def why_not_current(self) -> str:
        """The first reason why models, decoder or scores are stale; "" where all are current."""
        return self.stale_reason or self.decoder_stale_reason

    def require_current(self) -> "ExperimentDir":
        """Raises FileNotFoundError where it is not trained or scored, ValueError where it is stale."""
        if not self.is_scored:
            raise self.experiments.not_scored(self.name)
        if why := self.why_not_current:
            raise ValueError(f"{self.name!r} is stale: {why}; run: {self.command}")
        return self


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return reason(before, now) if before != now else ""


class Experiments:
    """All experiments of one competition; each is opened once."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._opened: dict[str, ExperimentDir] = {}

    @cached_property
    def competition(self) -> Competition:
        return load_competition(self.paths.competition)

    @cached_property
    def made(self) -> MadeFiles:
        return MadeFiles(self.paths)

    @cached_property
    def graph(self) -> "Graph":
        from tandem.graph.declared_stages import Graph

        return Graph.open(self.paths)

    @cached_property
    def groups(self) -> str:
        """Digest of the groups of near-duplicates; "none" where there are no folds."""
        from tandem.graph.sources import Sources

        return Sources(self.paths).groups

    def __getitem__(self, name: str) -> ExperimentDir:
        return self._opened.setdefault(name, ExperimentDir(self, name))

    def not_scored(self, name: str) -> Exception:
        """The error about an experiment or a stack that is not scored: how it is trained, or the names there are."""
        can_be_trained = name == STACK or name in config_files(self.paths.configs) or self[name].is_trained
        scored = [one.name for one in self.scored()]
        if can_be_trained or not scored:
            there = f"; scored: {' '.join(nearest_first(name, scored))}" if scored else ""
            command = self[name].command if can_be_trained else command_for(self.paths.comp)
            return FileNotFoundError(f"{name!r} is not trained; run: {command}{there}")
        return unknown("EXP", name, "not scored", scored)

    def scored(self) -> list[ExperimentDir]:
        """Those that are scored, by name; none whose files were changed since."""
        return [one for one in self._with_scores() if one.is_scored and one.name not in self.changed]

    @cached_property
    def changed(self) -> dict[str, str]:
        """{name: why} of those with scores whose files were changed since they were made."""
        found = {one.name: self.made.why_changed_below(self.paths.experiment(one.name)) for one in self._with_scores()}
        return {name: why for name, why in found.items() if why}

    def _with_scores(self) -> "list[ExperimentDir]":
        return [self[file.parent.name] for file in sorted(self.paths.oof_dir.glob("*/scores.json"))]


def command_for(comp: str, name: str = STACK, is_stack: bool = False) -> str:
    """The command that trains and scores an experiment or a stack."""
    return f"make {'submit' if is_stack or name == STACK else 'train'} COMP={comp}{chosen_by(name, is_stack)}"


def chosen_by(name: str, is_stack: bool = False) -> str:
    """What a command adds to choose an experiment or a stack; nothing for the default stack.

    >>> chosen_by("fusion"), chosen_by("two", is_stack=True), chosen_by("stack")
    (' EXPS=fusion', ' STACK=two', '')
    """
    return "" if name == STACK else f" {'STACK' if is_stack else 'EXPS'}={name}"


def same_rows(predictions: "Predictions", names: Sequence[str], fold_map: str) -> bool:
    """Whether predictions are of these labels and this fold map."""
    return predictions.names == tuple(names) and predictions.provenance.get("folds") == fold_map
