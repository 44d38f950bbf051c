"""Selects the ensemble to bundle among the current experiments, their means and the stacks."""

from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.paths import Paths
from tandem.bundling.cost import measure_costs
from tandem.bundling.ensemble_choice import Choice, Cost, choose_best, grow_means
from tandem.config.competition import load_competition
from tandem.config.own_code import code_files
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import read_captions, read_image_rows
from tandem.decoding import Rule
from tandem.decoding.scoring import score
from tandem.ensemble.stacking import BOUND, fixed_stack, load_stack, write_stack
from tandem.graph.experiment_dir import ExperimentDir, Experiments, command_for, same_rows
from tandem.inference.predictor import no_caption_scores
from tandem.logits import logit, sigmoid
from tandem.runtime.resources import threads

TIMED = 64  # images
MEAN = "mean"


def select_ensemble(experiments: Experiments, budget: Cost) -> tuple[Choice, list[Choice], list[str]]:
    """(the chosen ensemble, all that it was chosen from, a line about each experiment that was not considered); raises
    FileNotFoundError where nothing is trained, ValueError where nothing fits."""
    comp, scored = experiments.paths.comp, experiments.scored()
    if not scored:
        raise FileNotFoundError(f"nothing is trained for {comp!r}; run: {command_for(comp)}")
    rows, rule = read_labelled_rows(experiments.paths), Rule.of(experiments.competition, experiments.paths.input)
    same = {one: same_rows(one.oof(), rows.names, rows.fold_digest) for one in scored}
    reasons = {e: e.why_not_current or ("" if same[e] else "other folds or labels") for e in scored}
    current = [one for one, why in reasons.items() if not why]
    left_out = [f"left out: {e.name}, which is stale: {why}; run: {e.command}" for e, why in reasons.items() if why]
    alone = {one: one.config.why_no_new_images for one in current if not one.is_stack}
    left_out += [f"left out: {one.name}, which can't label new images: {why}" for one, why in alone.items() if why]
    own = [one for one, why in alone.items() if not why]
    logits = {one.name: logit(one.oof().aligned_to(rows.ids), BOUND) for one in own}
    if not logits:
        raise ValueError("\n".join([f"nothing that is trained for {comp!r} is current and has models", *left_out]))
    choices = [choice for choice in map(_as_choice, current) if logits.keys() >= set(choice.members)]
    stacks = [one.name for one in current if one.is_stack]
    costs = measure_costs([experiments[name] for name in logits], *first_rows(experiments.paths, TIMED), stacks)
    for group in grow_means(logits, rows.y, lambda names: costs.total(MEAN, names, 1).within(budget), rows.known):
        if len(group) > 1:
            proba = sigmoid(np.mean([logits[name] for name in group], axis=0))
            recipe = score(proba, rows.y, rows.fold, rows.names, rule, threads(), rows.group, None, rows.known)
            choices.append(
                Choice(MEAN, group, recipe[1]["score"], recipe=recipe, greater_is_better=rule.judge.greater_is_better)
            )
    fallbacks = no_caption_scores([experiments[name] for name in logits], rows.names)
    choices = [costs.with_fallback(choice, fallbacks, budget) for choice in choices]
    return choose_best(choices, budget), choices, left_out


def _as_choice(one: ExperimentDir) -> Choice:
    members = tuple(load_stack(one.paths, one.name)[1]) if one.is_stack else (one.name,)
    return Choice(
        "stack" if one.is_stack else "single",
        members,
        one.new_image_scores["score"],
        greater_is_better=one.scores["greater_is_better"],
        name=one.name if one.is_stack else "",
    )


def no_caption_member(stack: ExperimentDir) -> ExperimentDir | None:
    """The member that is best without a caption, where the stack needs captions because it uses others alone."""
    if not stack.is_stack:
        return None
    used = [stack.sibling(name) for name in load_stack(stack.paths, stack.name)[1]]
    own = [stack.sibling(name) for name in stack.members if name not in stack.unable]
    scores = {} if no_caption_scores(used, stack.labels) else no_caption_scores(own, stack.labels)
    return stack.sibling(max(scores, key=scores.__getitem__)) if scores else None


def as_experiment(experiments: Experiments, choice: Choice, root: Path) -> ExperimentDir:
    """The experiment that a choice is; a mean is written as a stack of fixed weights in the new folder `root`."""
    if choice.kind != MEAN:
        return experiments[choice.name or choice.members[0]]
    paths, out, m = experiments.paths, Paths(experiments.paths.comp, root), len(choice.members)
    links = {out.build: paths.build, out.input: paths.input, out.folds: paths.folds, out.configs: paths.configs}
    links |= {out.root / file.name: file for file in paths.root.glob("*.py")}  # which any file of configs/ may name
    for name in choice.experiments:
        links |= {out.experiment(name): paths.experiment(name), out.models_dir(name): paths.models_dir(name)}
        own = experiments[name].config.own_code
        links |= {out.root / file: paths.root / file for file in code_files(paths.root, own)}
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve())
    out.models_dir(MEAN).mkdir()
    decoder, scores = choice.recipe
    write_stack(out.models_dir(MEAN), fixed_stack(np.full(m, 1 / m), len(decoder["labels"])))
    write_json(out.thresholds(MEAN), decoder)
    write_json(out.scores(MEAN), scores)
    write_json(out.run(MEAN), {"experiment": MEAN, "members": dict.fromkeys(choice.members, "")})
    return Experiments(out)[MEAN]


def first_rows(paths: Paths, n: int) -> tuple[list[Path] | None, list[str]]:
    """(images, captions) of the first n test rows, or of training rows where there is no test set; images are None
    where the competition has none."""
    split = "test" if paths.images("test").exists() else "train"
    images, captions = read_image_rows(paths.images(split)), paths.captions(split)
    caption = dict(zip(*read_captions(captions), strict=True)) if captions.exists() else {}
    texts = [caption.get(name, "") for name in images["id"][:n]]
    if load_competition(paths.competition).images is None:
        return None, texts
    return [paths.input / file for file in images["file"][:n]], texts
