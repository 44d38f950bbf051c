"""A trained competition in seconds: tiny networks on drawn photos. `cat` is said in the caption, `sky` is blue."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from checked import run_tasks, train, write_competition, write_experiment, write_folds, write_split
from PIL import Image

from tandem.artifacts.paths import Paths
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment, HeadExperiment, TfidfExperiment
from tandem.config.training import Fusion, FusionTraining, Head, HeadTraining
from tandem.data.split_tables import write_labels
from tandem.ensemble import fit_stack
from tandem.ensemble.fit_stack import choose
from tandem.runtime.torch_setup import import_timm

NAMES = ("cat", "sky")
N, TEST, FOLDS = 60, 8, 3
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog"]
MEMBERS = ["join", "looks", "words"]


def draw(path: Path, blue: bool, seed: int) -> None:
    """A photo of 48 x 40, blue or red."""
    pixels = np.random.default_rng(seed).integers(0, 60, (40, 48, 3), np.uint8)
    pixels[:, :, 2 if blue else 0] += 180
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def tiny_backbone(path: Path) -> str:
    """A timm network nobody trained, as safetensors."""
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = import_timm().create_model("test_efficientnet")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)
    return str(path)


def tiny_sentences(folder: Path) -> str:
    """A BERT of two layers that knows WORDS, as a sentence-transformers folder."""
    import_timm()
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        sizes |= {"vocab_size": len(WORDS), "max_position_embeddings": 64}
        bert = BertModel(BertConfig(**sizes, initializer_range=0.2))  # words are apart by more than rounding
    bert.save_pretrained(folder)
    BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(16)], device="cpu")
    model.save(str(folder), create_model_card=False)
    return str(folder)


def experiments(root: Path, members: Sequence[str] = MEMBERS) -> dict:
    image = ImageEncoder(
        model="test_efficientnet", weights=tiny_backbone(root / "tiny.safetensors"), size=32, pool="avg"
    )
    model = tiny_sentences(root / "tiny") if "join" in members else "tiny"
    caption = CaptionEncoder(model=model, max_tokens=8)
    small = Fusion(hidden=16, rank=2, dropout=0.0, input_dropout=0.0, heads=1)
    join = FusionExperiment(
        kind="fusion",
        frozen=(image,),
        caption=caption,
        fusion=small,
        train=FusionTraining(epochs=20, batch=16, min_steps=0, lr=1e-2),
    )
    head = Head(hidden=8, dropout=0.0, input_dropout=0.0, bags=1)
    looks = HeadExperiment(kind="head", image=image, head=head, train=HeadTraining(epochs=5, min_steps=40))
    made = {"join": join, "looks": looks, "words": TfidfExperiment(kind="tfidf")}
    return {name: made[name] for name in members}


def make(root: Path, members: Sequence[str] = MEMBERS) -> Paths:
    """Trains, stacks and decodes in the new folder `root`."""
    root.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(root):
        paths, rng = Paths("toy"), np.random.default_rng(0)
        y = rng.integers(0, 2, (N + TEST, 2)).astype(np.uint8)
        write_competition(paths, NAMES, least=0, zero_division=1, experiments=list(members))
        for split, rows in (("train", range(N)), ("test", range(N, N + TEST))):
            ids = [f"{i}.jpg" for i in rows]
            for i in rows:
                draw(paths.input / "data" / f"{i}.jpg", bool(y[i, 1]), i)
            captions = ["a cat" if y[i, 0] else "a dog" for i in rows]
            write_split(paths, split, ids, captions, folder="data/", size=(48, 40))
        ids = [f"{i}.jpg" for i in range(N)]
        write_labels(paths.labels, ids, NAMES, y[:N])
        write_folds(paths, ids, [n % FOLDS for n in range(N)])
        for name, experiment in experiments(root, members).items():
            write_experiment(paths, name, experiment)
        train(paths, *members)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fit_stack, "choose", keep_learned)
            run_tasks(paths, "stack", "decode stack")
    return Paths("toy", root)


def keep_learned(losses: Mapping[str, np.ndarray], group: np.ndarray | None = None) -> tuple[str, fit_stack.Gains]:
    """As `choose`, but the learned stack is kept, whose gain on so few rows is not significant."""
    return fit_stack.LEARNED, choose(losses, group)[1]
