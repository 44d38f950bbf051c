"""The files of one trained experiment, opened once: settings, folds, members, decoder, scores, and why it is stale."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, load_competition
from tandem.config.experiments import Experiment, make_experiment
from tandem.graph.keys import NONE, STACK, decoder_settings, model_name, read_record, reason

if TYPE_CHECKING:  # imported where they are used: `make scores` needs none of them
    import numpy as np

    from tandem.artifacts.predictions import Predictions
    from tandem.data.labelled_rows import LabelledRows
    from tandem.decoding import Decoder, Rule
    from tandem.decoding.scoring import RowsApart
    from tandem.graph.declared_stages import Graph


TUNED = "tuned on these folds"  # a mark


class ExperimentDir:
    """What is on disk of one experiment, or of a stack.

    The content of a bundle was packed together and is never stale.
    """

    def __init__(self, experiments: "Experiments", name: str) -> None:
        self.experiments, self.paths, self.name = experiments, experiments.paths, name

    @cached_property
    def is_trained(self) -> bool:
        return self.paths.run(self.name).is_file()

    @cached_property
    def is_scored(self) -> bool:
        decoded = (self.paths.thresholds(self.name), self.paths.scores(self.name))
        return self.is_trained and all(file.is_file() for file in decoded)

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`: how it was trained."""
        run = read_json(self.paths.run(self.name))
        if "seconds_per_fold" in run and "folds" not in run:  # a bundle of format 1 or 2
            config = read_json(self.paths.build / "experiments" / f"{self.name}.json")
            run |= {"config": config, "folds": list(range(len(run["seconds_per_fold"])))}
        return run

    @cached_property
    def scores(self) -> dict[str, Any]:
        return read_json(self.paths.scores(self.name))

    @cached_property
    def thresholds(self) -> dict[str, Any]:
        """`thresholds.json`: the decoder in use and what it was tuned for."""
        return read_json(self.paths.thresholds(self.name))

    @cached_property
    def is_stack(self) -> bool:
        return "members" in self.run

    @cached_property
    def members(self) -> list[str]:
        """All experiments that a stack was fitted on; empty if it is no stack."""
        return list(self.run.get("members", {}))

    @cached_property
    def is_external(self) -> bool:
        """Whether its predictions were made elsewhere; a stack's never are."""
        return not self.is_stack and self.config.external

    @cached_property
    def unable(self) -> list[str]:
        """The members of a stack that can't label new images: their predictions, or features that they read, were made
        elsewhere. A second stack, without them, does."""
        return list(self.run.get("external", []))

    @cached_property
    def config(self) -> Experiment:
        """The settings it was trained with."""
        return make_experiment(self.run["config"], self.paths.run(self.name))

    @cached_property
    def reads(self) -> frozenset[str]:
        """Which of `image` and `caption` its predictions depend on."""
        own = [member for member in self.members if member not in self.unable]
        configs = [self.sibling(member).config for member in own] if self.is_stack else [self.config]
        return frozenset().union(*(config.reads for config in configs))

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Why its out-of-fold score may be too high, as tables show it; of a stack, what its members say."""
        if self.is_stack:
            return tuple(dict.fromkeys(mark for member in self.members for mark in self.sibling(member).marks))
        run = self.run if self.is_trained else {}
        tuned = run.get("config", {}).get("tuned") == self.paths.comp
        return (*run.get("marks", ()), *((TUNED,) if tuned else ()))

    @cached_property
    def folds(self) -> list[int]:
        """The folds that have a model."""
        return [int(k) for k in self.run["folds"]]

    def models(self, most: int = 0) -> list[Path]:
        """Weights of the folds' models, of the first `most` of them; 0 is all."""
        if not 0 <= most <= len(self.folds):
            raise ValueError(f"FOLDS={most}: {self.name} has {len(self.folds)} models; expected 0 (all) to that number")
        return self.models_of(self.folds[: most or None])

    def models_of(self, folds: Sequence[int]) -> list[Path]:
        """Weights of these folds' models, of every seed."""
        return [self.paths.model(self.name, k, ".safetensors", s) for k in folds for s in range(self.config.seeds)]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.thresholds["labels"])

    def decoder(self, without: str = "", name: str = "") -> "Decoder":
        """The decoder in use, or the one called `name`; `without` "captions" or "photos": the one for rows that lack
        them, where there is one."""
        from tandem.decoding import Decoder

        return Decoder.from_json(self._recipe(without), name)

    def _recipe(self, without: str = "") -> dict[str, Any]:
        return self.thresholds.get("without", {}).get(without, self.thresholds) if without else self.thresholds

    def captioned(self, split: str, ids: Sequence[str]) -> "np.ndarray":
        """(n,) bool: rows with a caption; all, where its predictions do not depend on captions, or are given."""
        from tandem.data.split_tables import read_captioned

        found = read_captioned(self.paths, split, ids)
        if not self.is_stack and (self.is_external or "caption" not in self.reads):
            return found | True
        return found

    def decode(self, proba: "np.ndarray", captioned: "np.ndarray", name: str = "") -> "np.ndarray":
        """(n, c) bool label sets of probabilities (n, c), by the decoder in use or the one called `name`; rows that are
        not `captioned` (n,) are decoded by the decoder for rows without a caption, where there is one."""
        pred = self.decoder("", name)(proba)
        if not captioned.all():
            pred[~captioned] = self.decoder("captions", name)(proba[~captioned])
        return pred

    def submitted_proba(self, proba: "np.ndarray", captioned: "np.ndarray") -> "np.ndarray":
        """(n, c) probabilities as a submission holds them: calibrated where the metric is the log loss."""
        from tandem.decoding.calibration import Calibration

        if self.thresholds["metric"] != "log_loss":
            return proba
        found = Calibration(**self.thresholds["calibration"])(proba)
        if not captioned.all():
            found[~captioned] = Calibration(**self._recipe("captions")["calibration"])(proba[~captioned])
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

    def oof_without(self, setting: str, rows: "LabelledRows") -> "np.ndarray | None":
        """(n, c) out-of-fold probabilities in the setting no_caption or no_image; None where it has none."""
        from tandem.artifacts.contributions import read_contributions
        from tandem.artifacts.predictions import Predictions
        from tandem.logits import sigmoid

        file = self.paths.contributions(self.name)
        for found, ids, terms in read_contributions(file) if file.exists() else ():
            if found == setting:
                return Predictions(ids, rows.names, sigmoid(terms.sum(-1))).aligned_to(rows.ids)
        return None

    def oof(self) -> "Predictions":
        from tandem.artifacts.predictions import Predictions

        return Predictions.read(self.paths.oof(self.name))

    def test(self) -> "Predictions | None":
        """None where the test rows are not predicted."""
        from tandem.artifacts.predictions import Predictions

        file = self.paths.test(self.name)
        return Predictions.read(file) if file.is_file() else None

    @property
    def submission(self) -> dict[str, Any] | None:
        """The JSON beside its submission; None where there is none."""
        file = self.paths.submission(self.name).with_suffix(".json")
        return read_json(file) if file.is_file() else None

    def logs(self) -> dict[int, list[dict[str, Any]]]:
        """The training log of each fold that has one; an entry of a further seed has the number of that `seed`."""
        logs: dict[int, list[dict[str, Any]]] = {}
        for k, s in product(self.folds, range(self.config.seeds)):
            if (file := self.paths.model(self.name, k, ".json", s)).is_file():
                log = read_json(file).get("log") or []
                logs.setdefault(k, []).extend([entry | {"seed": s} for entry in log] if s else log)
        return logs

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

    @property
    def _second_scores(self) -> Mapping[str, Any]:
        """The scores of the stack without `unable` members; empty where there is none."""
        return self.scores.get("without", {}).get("external", {}) if self.unable else {}

    @property
    def new_image_scores(self) -> Mapping[str, Any]:
        """The scores of what labels new images: of a stack with members that can't, those of the stack without them."""
        return self._second_scores or self.scores

    @property
    def about_new_images(self) -> str:
        """The scores of a stack and of the one that labels new images in its place; "" where it labels these itself."""
        if not (scores := self._second_scores):
            return ""
        without = f"the {self.name} without {', '.join(self.unable)}: {scores['score']:.4f}"
        return f"{self.name} {self.scores['score']:.4f}; new images are labelled by {without}"

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
            raise FileNotFoundError(self.experiments.why_not_scored(self.name))
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

    def why_not_scored(self, name: str) -> str:
        """The message about an experiment or a stack that is not scored."""
        return f"{name!r} is not trained; run: {self[name].command}{self.scored_names()}"

    def scored_names(self) -> str:
        """The end of a message: the names of what is scored, stacks apart; empty where nothing is."""
        names = {kind: [one.name for one in self.scored() if one.is_stack is kind] for kind in (False, True)}
        kinds = (("experiments", names[False]), ("stacks", names[True]))
        return "".join(f"; scored {what}: {', '.join(found)}" for what, found in kinds if found)

    def scored(self) -> list[ExperimentDir]:
        """Those that are scored, by name."""
        found = (self[file.parent.name] for file in sorted(self.paths.oof_dir.glob("*/scores.json")))
        return [experiment for experiment in found if experiment.is_scored]


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
