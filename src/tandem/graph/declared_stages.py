"""What each stage reads, what it writes, and the settings that its results depend on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import CORRECTIONS, LABELLED, Paths
from tandem.config import method_versions as version
from tandem.config.competition import EXTRA_WEIGHT, Competition, load_competition
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment, FinetuneExperiment
from tandem.config.external import external_experiments
from tandem.config.load_experiments import load_experiments
from tandem.config.own_code import code_files, session_digests
from tandem.data.added_features import added_files, read_joints
from tandem.data.image_scan import folder_state
from tandem.features.weights_identity import weights_identity
from tandem.graph.keys import NONE, OUT_OF_FOLD, STACK, Artifact, decoder_settings, features_of, model_name
from tandem.graph.names import Names, by_decoder, cached, stack_task
from tandem.graph.sources import Sources
from tandem.graph.task import Task

FOLD_TERMS = ".terms.parquet"  # contributions beside a fold's predictions
CHECKED_SETTINGS = {"id", "image", "caption", "images", "suffix", "image_name", "split", "valid", "train", "test"} | {
    "extra", "unlabelled", "encoding", "columns", "labels", "least", "most", "duplicates", "folds", "submission"
}  # fmt: skip
SUBMITTED_SETTINGS = {"id", "labels", "test", "sample_submission", "solution", "submission"}


class Graph(Names):
    """Everything that can be made for one competition, as tasks that name what they need."""

    def __init__(
        self,
        paths: Paths,
        competition: Competition,
        experiments: Mapping[str, Experiment],
        assumed: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(paths, competition, experiments)
        self.sources = Sources(paths, assumed)

    @classmethod
    def open(cls, paths: Paths, more: Mapping[str, Experiment] | None = None) -> "Graph":
        """Reads the settings from the files as they are now; `more` experiments have no file in configs/."""
        competition = load_competition(paths.competition)
        external = external_experiments(paths.external_dir)
        experiments = load_experiments(paths.configs, competition, paths.competition, read_joints(paths), external)
        return cls(paths, competition, experiments | dict(more or {}))

    def refreshed(self, assumed: Mapping[str, str] | None = None) -> "Graph":
        """A graph of the files as they are now, or as if the `assumed` digests were on disk."""
        self.sources.cache.save()
        graph = Graph(self.paths, self.competition, self.experiments, assumed)
        graph.sources.made = self.sources.made
        return graph

    def tasks(self, goals: Sequence[str], names: Sequence[str] = ()) -> dict[str, Task]:
        """The goals and all that they need, by name; `names` are the members of a stack that is among them."""
        found: dict[str, Task] = {}

        def add(name: str) -> None:
            if name not in found:
                task = self.task(name, tuple(names))
                for need in task.needs:
                    add(need)
                found[name] = task

        for goal in goals:
            add(goal)
        return found

    @cached
    def task(self, name: str, names: tuple[str, ...] = ()) -> Task:
        return replace(self._declared(name, names), made=self.sources.made)

    def _declared(self, name: str, names: tuple[str, ...]) -> Task:
        stage, _, subject = name.partition(" ")
        if stage == STACK:
            return self._stack(subject or STACK, self.members(subject or STACK, names))
        made: dict[str, Callable[..., Task]] = {
            "check": self._check,
            "folds": self._folds,
            "features": self._features,
            "train": self._train,
        }
        if stage in made:
            return made[stage](*([subject] if subject else []))
        return self._decode(subject, names) if stage == "decode" else self._submit(*by_decoder(subject), names)

    @cached_property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders of all experiments, by slug."""
        return {encoder.slug: encoder for e in self.experiments.values() for encoder in e.encoders}

    @cached_property
    def fold_numbers(self) -> tuple[int, ...]:
        return self.sources.fold_numbers or tuple(range(self.competition.folds.n))

    # ---- the stages

    def _check(self) -> Task:
        paths, competition = self.paths, self.competition
        settings = CHECKED_SETTINGS | ({"captions"} if competition.captions else set())
        names = [file for split in competition.splits for file in competition.table_files(split)]
        names += [competition.sample_submission, *competition.caption_files]
        inputs: dict[str, Any] = {"competition.toml": competition.model_dump(mode="json", include=settings)}
        if own := competition.folds.model_dump(include={"file", "column", "group"}, exclude_none=True):
            inputs["own folds"] = own
            names += [competition.folds.file] if competition.folds.file else []
        names += [CORRECTIONS] if competition.corrections else []
        inputs |= {str(file): self.sources.file(file) for file in (paths.input / name for name in dict.fromkeys(names))}
        inputs["what the metric scores"] = competition.metric_needs  # the sample submission must fit it
        folders = dict.fromkeys(f for split in competition.splits for f in competition.image_folders(split))
        states = [folder_state(paths.input / folder.removesuffix("**")) for folder in folders] or [NONE]
        inputs |= {"image files": states[0] if len(states) == 1 else states, "check version": version.CHECK}
        files = [paths.labels, *map(paths.images, competition.splits)]
        files += map(paths.captions, competition.splits if competition.caption else ())
        files += [paths.own_folds] if own else []
        files += [paths.given_labels] if competition.corrections else []
        files += [paths.extra_labels, paths.extra_links] if competition.extra else []
        return Task("check", "check", (Artifact("check", tuple(files), paths.checked, inputs),))

    def _folds(self) -> Task:
        settings = self.competition.model_dump(mode="json", include={"folds", "duplicates"}, exclude_none=True)
        inputs = {
            "competition.toml": settings,
            # folds are made from uncorrected labels, so that scores before and after are of the same folds
            "labels": self.sources.table("given.labels" if self.competition.corrections else "train.labels"),
            "images": self.sources.table("train.images"),
            "folds version": version.FOLDS,
            "duplicates version": version.DUPLICATES,
        }
        if {"file", "column", "group"} & settings["folds"].keys():
            inputs["own folds"] = self.sources.table("train.folds")
        if self.competition.images is None:
            inputs["captions"] = self.sources.table("train.captions")
        artifact = Artifact("folds", (self.paths.folds,), self.paths.folds_record, inputs)
        return Task("folds", "folds", (artifact,), ("check",))

    @cached
    def features(self, encoder: Encoder, split: str) -> Artifact:
        """The frozen features of one split."""
        file = self.paths.features(encoder.slug, split)
        kind = "image" if encoder.reads == "image" else "caption"
        inputs = {
            "encoder": encoder.model_dump(mode="json"),
            "weights": self._weights(encoder),
            f"{split} {kind}s": self.sources.table(f"{split}.{kind}s"),
            "precision": self.sources.precision[kind],
            "encoder version": version.ENCODER,
        }
        files = (file, file.with_suffix(".ids.json"))
        return Artifact(f"{encoder.slug} {split}", files, file.with_suffix(".meta.json"), inputs)

    def _weights(self, network: Encoder | FinetuneExperiment) -> str:
        """Identity of the pretrained weights; "none" where their file does not exist."""
        here = self.paths.root / network.weights_name
        if network.weights_name and here.exists():
            network = network.model_copy(update={network.weights_field: str(here)})
        try:
            return weights_identity(network, self.sources.cache.digest_of)
        except FileNotFoundError:
            return NONE

    def _added(self, name: str, split: str) -> str:
        """Digest of the features that the user added for one split; "none" where there are none."""
        files = [self.sources.file(file) for file in added_files(self.paths, name, split)]
        return NONE if NONE in files else digest(files)

    def _features(self, slug: str) -> Task:
        encoder = self.encoders[slug]
        artifacts = tuple(self.features(encoder, split) for split in self.competition.splits)
        return Task(f"features {slug}", "features", artifacts, ("check",), slug, encoder, heavy=True)

    def _read(self, experiment: Experiment, split: str) -> dict[str, str]:
        """Inputs of an artifact: what an experiment reads of one split."""
        inputs = {features_of(e.slug, split): self.features(e, split).key for e in experiment.encoders}
        for added in experiment.features:
            inputs[f"added features {added.name}, {split}"] = self._added(added.name, split)
        # which rows have a caption matters to features of captions too
        captions = {"caption"} if experiment.features and "caption" in experiment.reads else set()
        for kind in sorted(experiment.reads_rows | captions):
            inputs[f"{split} {kind}s"] = self.sources.table(f"{split}.{kind}s")
        if experiment.pixel_network:
            inputs[f"weights of {experiment.pixel_network.model}"] = self._weights(experiment.pixel_network)
        return inputs

    def _own_code(self, experiment: Experiment) -> dict[str, str]:
        """Inputs of an artifact: the user's files that its training runs."""
        names, root = experiment.own_code, self.paths.root
        return session_digests(names) | {name: self.sources.file(root / name) for name in code_files(root, names)}

    @cached
    def fold(self, name: str, k: int, seed: int = 0) -> Artifact:
        """One experiment's model of one fold, of the seed of this number, and its held-out predictions."""
        experiment = self.experiments[name].of_seed(seed).as_trained(self.sources.labelled_rows)
        suffixes = [".safetensors", ".parquet", *([FOLD_TERMS] if experiment.explains else [])]
        inputs: dict[str, Any] = {
            f"configs/{name}.toml": experiment.model_dump(mode="json"),
            "fold": k,
            "fold map": self.sources.fold_map,
            "labels": self.sources.table("train.labels"),
            **self._read(experiment, "train"),
            **self._own_code(experiment),
            "trainer version": version.TRAINER,
        }
        if self.competition.extra:
            inputs |= {name: self.sources.table(name) for name in ("extra.labels", "extra.links")}
            inputs |= {"extra_weight": self.competition.extra_weight or EXTRA_WEIGHT}
            inputs |= self._read(experiment, "extra")
        if experiment.uses_bfloat16:
            inputs["precision"] = self.sources.precision["image"]
        if experiment.teacher:
            teacher = self.experiments[experiment.teacher]
            for number in range(teacher.seeds):
                which = f" seed {number}" if number else ""
                inputs[f"teacher {experiment.teacher}{which}"] = self.fold(experiment.teacher, k, number).key
            for split in (name for name in self.competition.splits if name not in LABELLED):
                inputs |= self._read(teacher, split) | self._read(experiment, split)
        files = tuple(self.paths.model(name, k, suffix, seed) for suffix in suffixes)
        return Artifact(f"{name} {model_name(k, seed)}", files, self.paths.model(name, k, ".json", seed), inputs)

    def models(self, name: str) -> list[tuple[int, int]]:
        """(fold, number of the seed) of each model of an experiment, all folds of the first seed first."""
        return [(k, seed) for seed in range(self.experiments[name].seeds) for k in self.fold_numbers]

    @cached
    def oof(self, name: str) -> Artifact:
        """The held-out predictions of all folds of an experiment."""
        if self.experiments[name].external:
            return self._external_oof(name)
        inputs = {model_name(*model): self.fold(name, *model).key for model in self.models(name)}
        contributions = [self.paths.contributions(name)] if self.experiments[name].has_terms else []
        files = (self.paths.oof(name), *contributions)
        return Artifact(f"{name} {OUT_OF_FOLD}", files, self.paths.run(name), inputs)

    @cached
    def test(self, name: str) -> Artifact:
        """The mean predictions of an experiment's folds for the test rows."""
        file = self.paths.test(name)
        inputs = {"models": self.oof(name).key}
        if self.experiments[name].external:
            given = self.paths.external_test(name)
            inputs |= {given.name: self.sources.file(given), "test images": self.sources.table("test.images")}
        else:
            inputs |= self._read(self.experiments[name], "test")
        return Artifact(f"{name} test", (file,), file, inputs)

    def _external_oof(self, name: str) -> Artifact:
        """Predictions that were added, in the order of our rows."""
        given = (self.paths.external_oof(name), self.paths.external_folds(name))
        inputs = {file.relative_to(self.paths.root).as_posix(): self.sources.file(file) for file in given}
        inputs |= {"labels": self.sources.table("train.labels"), "fold map": self.sources.fold_map}
        inputs["external version"] = str(version.EXTERNAL)
        return Artifact(f"{name} {OUT_OF_FOLD}", (self.paths.oof(name),), self.paths.run(name), inputs)

    def _train(self, name: str) -> Task:
        experiment = self.experiments[name]
        if experiment.external:
            return Task(f"train {name}", "add_predictions", self.predictions(name, ()), ("folds",), name, experiment)
        folds = tuple(self.fold(name, *model) for model in self.models(name))
        needs = ["folds", *(f"features {e.slug}" for e in experiment.encoders)]
        if experiment.teacher:
            needs.append(f"train {experiment.teacher}")
        artifacts = (*folds, *self.predictions(name, ()))
        return Task(f"train {name}", "train", artifacts, tuple(needs), name, experiment, heavy=True)

    def _stack(self, stack: str, members: Sequence[str]) -> Task:
        artifacts = self.stacked(stack, members)
        needs = tuple(f"train {name}" for name in members)
        config = {name: self.experiments[name] for name in members}
        return Task(stack_task(stack), STACK, artifacts, needs, stack, config, heavy=True)

    def stacked(self, stack: str, members: Sequence[str]) -> tuple[Artifact, ...]:
        """Out-of-fold predictions of the stack of these members and, with a test table, those for its rows."""
        paths = self.paths
        inputs: dict[str, Any] = {name: self.oof(name).key for name in members}
        inputs |= {"labels": self.sources.table("train.labels"), "fold map": self.sources.fold_map}
        inputs |= {"groups": self.sources.groups, "train captions": self.sources.table("train.captions")}
        inputs["stack version"] = version.STACK
        models = paths.stack(stack)
        files = [paths.oof(stack), paths.contributions(stack), models, models.with_suffix(".safetensors")]
        if {self.experiments[name].labels_new_images for name in members} == {True, False}:
            files.append(paths.no_external_stack(stack))
        oof = Artifact(f"{stack} {OUT_OF_FOLD}", tuple(files), paths.run(stack), inputs, models.parent)
        if not self.competition.has_test:
            return (oof,)
        inputs = {"stack": oof.key, **{name: self.test(name).key for name in members}}
        inputs |= {"test captions": self.sources.table("test.captions")}
        file = paths.test(stack)
        return oof, Artifact(f"{stack} test", (file,), file, inputs)

    def predictions(self, name: str, members: Sequence[str]) -> tuple[Artifact, ...]:
        """Out-of-fold predictions of an experiment or a stack and, with a test table, those for its rows."""
        if self.is_stack(name):
            return self.stacked(name, self.members(name, members))
        return (self.oof(name), *([self.test(name)] if self.competition.has_test else []))

    def decoder(self, name: str, members: Sequence[str] = ()) -> Artifact:
        """The tuned decoder and the scores of an experiment or a stack."""
        paths = self.paths
        inputs = {
            "predictions": self.predictions(name, members)[0].key,
            "labels": self.sources.table("train.labels"),
            "fold map": self.sources.fold_map,
            "groups": self.sources.groups,
            **decoder_settings(self.competition, self.paths.input),
        }
        files = (paths.thresholds(name), paths.scores(name))
        return Artifact(f"{name} decoder", files, paths.thresholds(name), inputs)

    def _decode(self, name: str, members: Sequence[str]) -> Task:
        return Task(f"decode {name}", "decode", (self.decoder(name, members),), (self._fitted(name),), name)

    def _fitted(self, name: str) -> str:
        """The task that makes the predictions of an experiment or a stack."""
        return stack_task(name) if self.is_stack(name) else f"train {name}"

    def _submit(self, name: str, decoder: str, members: Sequence[str]) -> Task:
        paths, competition = self.paths, self.competition
        inputs: dict[str, Any] = {
            "competition.toml": competition.model_dump(mode="json", include=SUBMITTED_SETTINGS),
            "predictions": self.predictions(name, members)[1].key,
            "decoder": self.decoder(name, members).key,
        }
        names = [*competition.table_files("test"), competition.sample_submission, competition.solution]
        tables = [paths.input / name for name in names]
        inputs |= {str(file): self.sources.file(file) for file in tables} | {"submission version": version.SUBMISSION}
        subject = f"{name}.{decoder}" if decoder else name
        file = paths.submission(subject)
        artifact = Artifact(f"submission of {subject}", (file,), file.with_suffix(".json"), inputs)
        needs = (f"decode {name}", self._fitted(name))
        return Task(f"submit {subject}", "submit", (artifact,), needs, subject)
