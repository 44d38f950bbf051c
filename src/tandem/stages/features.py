"""Features: build/C/{split}.{images,captions}.parquet -> features/C/ENCODER.SPLIT.npy, float16: (n, views, d),
of a trunk (n, views, h, w, d), of tokens (n, 1, t, d).

Beside it: `.ids.json` (the rows) and `.meta.json` (encoder, source of the weights, key). One run serves all splits, so
that the encoder's libraries are loaded once; what is current is left as it is.
"""

from collections.abc import Sequence
from importlib import import_module

from tandem.config import Encoder, read_encoder
from tandem.encoders.store import features_key, write_features
from tandem.encoders.weights import backbone_source, sentence_source
from tandem.files import digest
from tandem.paths import SPLITS, Paths
from tandem.rows import read_captions, read_images

ENCODERS = {"image": "images", "trunk": "trunk", "caption": "captions", "tokens": "tokens"}


def add_arguments(parser) -> None:
    parser.add_argument("--encoder", required=True, help="its file in build/C/encoders, without .json")
    parser.add_argument("--split", required=True, choices=SPLITS, help="the one that is out of date")


def main(args) -> None:
    paths = Paths(args.comp)
    cfg = read_encoder(paths.encoder_config(args.encoder))
    image = cfg.reads == "image"
    source = backbone_source(cfg.model, cfg.weights) if image else sentence_source(cfg.model)
    for split in (split for split in SPLITS if paths.images(split).exists()):
        path = paths.features(args.encoder, split)
        ids, items, content = _rows(paths, cfg, split)
        key = digest([cfg.model_dump(), source, ids, content])
        if features_key(path) == key:
            if split == args.split:
                path.touch()  # make takes it for old: what it is made from was written again, with the same values
            continue
        encoder = import_module(f"tandem.encoders.{ENCODERS[cfg.kind]}")
        meta = {"encoder": cfg.model_dump(), "source": source}
        unit = "img" if image else "captions"

        def encode(start: int, items: Sequence = items, encoder=encoder):
            return encoder.encode(cfg, items[start:])

        write_features(path, key, ids, encode, meta, unit)


def _rows(paths: Paths, cfg: Encoder, split: str) -> tuple[list, Sequence, list]:
    """(ids, what to encode, what it is known by) of one split."""
    if cfg.reads == "image":
        rows = read_images(paths.images(split))
        return list(rows["id"]), [paths.input / f for f in rows["file"]], list(rows["sha"])
    ids, captions = read_captions(paths.captions(split))
    return list(ids), captions, list(captions)
