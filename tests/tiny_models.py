"""Networks of nobody's training, in seconds: any timm network's random weights, and transformers of many families."""

from pathlib import Path
from typing import Any

from tandem.runtime.torch_setup import import_timm

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "two", "query", ":"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"vocab_size": len(WORDS), "max_position_embeddings": 40, "initializer_range": 0.2, "pad_token_id": 0}
ENDS = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
DEBERTA2 = {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True, "conv_kernel_size": 3}
DISTIL = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "initializer_range": 0.2}
# transformers' names of config and model, and what differs from SIZES
FAMILIES: dict[str, tuple[str, str, dict]] = {
    "bert": ("BertConfig", "BertModel", SIZES),
    "roberta": ("RobertaConfig", "RobertaModel", SIZES),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaModel", SIZES),
    "mpnet": ("MPNetConfig", "MPNetModel", SIZES),
    "distilbert": ("DistilBertConfig", "DistilBertModel", DISTIL | {"vocab_size": 11, "max_position_embeddings": 40}),
    "modernbert": (
        "ModernBertConfig",
        "ModernBertModel",
        SIZES | ENDS | {"global_attn_every_n_layers": 2, "local_attention": 4},
    ),
    "nomic_bert": ("NomicBertConfig", "NomicBertModel", SIZES),
    "deberta": ("DebertaConfig", "DebertaModel", SIZES | RELATIVE),
    "deberta-v2": ("DebertaV2Config", "DebertaV2Model", SIZES | RELATIVE | DEBERTA2 | {"conv_act": "gelu"}),
    "t5": (
        "T5Config",
        "T5EncoderModel",
        {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2, "vocab_size": 11},
    ),
}


def timm_weights(name: str, file: Path) -> str:
    """Random weights of a timm network, with running statistics that are not 0 and 1, as safetensors."""
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = import_timm().create_model(name).state_dict()
        state = {k: v + 0.1 * torch.rand_like(v) if "running" in k else v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in state.items()}, file)
    return str(file)


def text_folder(family: str, folder: Path) -> str:
    """A random model of the family that knows WORDS, as a plain Hugging Face folder."""
    import_timm()
    import torch
    import transformers

    config, model, sizes = FAMILIES[family]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = getattr(transformers, model)(getattr(transformers, config)(**sizes))
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))  # norms and biases, too, are not what they begin as
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    save_tokenizer(folder, WORDS, ("[CLS]", "[SEP]"), model_max_length=40, **named)
    return str(folder)


def save_tokenizer(folder: Path, words: list[str], ends: tuple[str, str], **settings: Any) -> None:
    """A tokenizer of whole words, in a folder of transformers; a text stands between the two `ends`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(end, words.index(end)) for end in ends]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{ends[0]} $A {ends[1]}", special_tokens=special)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings).save_pretrained(folder)
