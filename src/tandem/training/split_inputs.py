"""What an experiment reads of one split."""

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import SPLITS, Paths
from tandem.config.experiments import Experiment, FusionExperiment, reads_rows
from tandem.data.split_tables import read_captions, read_images
from tandem.features.feature_store import features_key, read_features
from tandem.models.inputs import Inputs, Maps


def inputs_key(paths: Paths, experiment: Experiment, split: str) -> str:
    """Digest of what the experiment sees of one split, without reading features."""
    parts: list = [features_key(paths.features(e.slug, split)) for e in experiment.encoders]
    rows = reads_rows(experiment)
    if "image" in rows:
        from tandem.features.pretrained_weights import backbone_source

        network = experiment.trunk if isinstance(experiment, FusionExperiment) else experiment
        images = read_images(paths.images(split))
        parts += [images["id"], images["sha"], backbone_source(network.model, network.weights)]
    if "caption" in rows:
        parts += read_captions(paths.captions(split))
    return digest(parts)


def read_inputs(paths: Paths, experiment: Experiment, split: str) -> tuple[list[str], Inputs]:
    """(ids, inputs) of one split in the order of its CSV."""
    images = read_images(paths.images(split))
    ids, rows = images["id"], reads_rows(experiment)
    blocks, maps = [], []
    for encoder in experiment.encoders:
        features = read_features(paths.features(encoder.slug, split), ids)
        if encoder.kind in ("trunk", "tokens"):
            maps.append(Maps((features,)))
        else:
            blocks.append(features)
    return ids, Inputs(
        len(ids),
        blocks=tuple(blocks),
        captions=read_captions(paths.captions(split))[1] if "caption" in rows else None,
        files=[paths.input / f for f in images["file"]] if "image" in rows else None,
        maps=tuple(maps),
    )


def unlabelled(paths: Paths) -> list[str]:
    """The splits whose rows may be learned from without their labels."""
    return [split for split in SPLITS if split != "train" and paths.images(split).exists()]
