"""Features: build/C/{split}.{images,captions}.parquet -> features/C/ENCODER.SPLIT.npy, (n, views, d) float16.

Beside it: `.ids.json` (the rows) and `.meta.json` (encoder, source of the weights, key).
"""

from tandem.config import ImageEncoder, read_encoder
from tandem.encoders.store import features_key, write_features
from tandem.files import digest
from tandem.paths import SPLITS, Paths
from tandem.rows import read_captions, read_images


def add_arguments(parser) -> None:
    parser.add_argument("--encoder", required=True, help="its file in build/C/encoders, without .json")
    parser.add_argument("--split", required=True, choices=SPLITS)


def main(args) -> None:
    paths = Paths(args.comp)
    cfg = read_encoder(paths.encoder_config(args.encoder))
    path = paths.features(args.encoder, args.split)
    if isinstance(cfg, ImageEncoder):
        from tandem.encoders import images as encoder

        rows = read_images(paths.images(args.split))
        ids, content = rows["id"], rows["sha"]
        items, unit = [paths.input / f for f in rows["file"]], "img"
    else:
        from tandem.encoders import captions as encoder

        ids, items = read_captions(paths.captions(args.split))
        content, unit = items, "captions"
    source = encoder.source(cfg)
    key = digest([cfg.model_dump(), source, list(ids), list(content)])
    if features_key(path) == key:
        path.touch()
        print(f"{path}: current")
        return
    meta = {"encoder": cfg.model_dump(), "source": source}
    write_features(path, key, ids, lambda start: encoder.encode(cfg, items[start:]), meta, unit)
