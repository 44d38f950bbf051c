"""CLIP-like pairs of tiny random towers, as folders."""

from pathlib import Path

from tiny_models import save_tokenizer

from tandem.runtime.torch_setup import import_timm

SIZE = 32  # pixels
OPEN_CLIP_SETTINGS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def open_clip_pair(folder: Path, seed: int = 0) -> str:
    """A pair of open_clip with its own tokenizer."""
    import_timm()
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    from tandem.artifacts.atomic_io import write_json

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CLIP(**OPEN_CLIP_SETTINGS)
    write_json(folder / "open_clip_config.json", {"model_cfg": OPEN_CLIP_SETTINGS, "preprocess_cfg": {}})
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return str(folder)


def hugging_face_pair(folder: Path, kind: str = "clip") -> str:
    """A CLIP or SigLIP of transformers with a tokenizer of few words."""
    import_timm()
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    from tandem.artifacts.atomic_io import write_json

    words = ["<s>", "</s>", "[UNK]", "a", "photo", "of", "cat", "dog", "sky"]
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = small | {"vocab_size": len(words), "max_position_embeddings": 12, "projection_dim": 16}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = small | {"image_size": SIZE, "patch_size": 16, "projection_dim": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "clip":
            network = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
        else:
            network = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    network.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "[UNK]", "pad_token": "</s>"}
    save_tokenizer(folder, words, ("<s>", "</s>"), **special)
    about = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_center_crop": kind == "clip"}
    write_json(folder / "preprocessor_config.json", about)
    return str(folder)
