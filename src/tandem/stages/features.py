"""Features: build/C/{split}.{images,captions}.parquet -> features/C/ENCODER.SPLIT.npy, float16: (n, views, d),
of a trunk (n, views, h, w, d), of tokens (n, 1, t, d).

Beside it: `.ids.json` (the rows) and `.meta.json` (encoder, source of the weights, key). One run serves all splits, so
that the encoder's libraries are loaded once; what is current is left as it is.
"""

from tandem.artifacts.paths import SPLITS, Paths
from tandem.config.encoders import read_encoder
from tandem.features.extract import encode_split


def add_arguments(parser) -> None:
    parser.add_argument("--encoder", required=True, help="its file in build/C/encoders, without .json")
    parser.add_argument("--split", required=True, choices=SPLITS, help="the one that is out of date")


def main(args) -> None:
    paths = Paths(args.comp)
    cfg = read_encoder(paths.encoder_config(args.encoder))
    for split in (split for split in SPLITS if paths.images(split).exists()):
        if not encode_split(paths, cfg, split) and split == args.split:
            # make takes it for old: what it is made from was written again, with the same values
            paths.features(cfg.slug, split).touch()
