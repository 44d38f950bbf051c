"""A transformer of a caption encoder split in two: frozen early layers, and trained late layers."""

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from tandem.config.encoders import CaptionEncoder, TokenEncoder
from tandem.features.pretrained_weights import load_sentences
from tandem.runtime.torch_setup import autocast, device

BATCH = 512  # captions in one call, which sorts them by length
MASK_ONLY = {"bert", "roberta", "xlm-roberta", "camembert", "electra"}  # their layers take states and a mask alone
RELATIVE_FIRST = {"t5", "mt5"}  # their first layer computes the relative positions for all
PROBE = ("a cat sleeps on a sofa", "")  # texts on which both parts must compute what the whole model does
OWN_PROMPT = "tandem"  # the name of a prompt that the settings give as text


def load_model(cfg: CaptionEncoder | TokenEncoder) -> Any:  # a SentenceTransformer, whose types are incomplete
    """With the settings' number of tokens, at most those that the model has positions for, and prompt; raises
    ValueError where the model has no such prompt."""
    sentences: Any = load_sentences(cfg.model).to(device())
    network = getattr(sentences[0], "auto_model", None)
    if network is None:
        raise ValueError(f"model = {cfg.model!r}: a {type(sentences[0]).__name__}; expected a transformer")
    sentences.max_seq_length = min(cfg.max_tokens, _positions(network) or cfg.max_tokens)
    if cfg.prompt in sentences.prompts:
        sentences.default_prompt_name = cfg.prompt or sentences.default_prompt_name
    elif cfg.prompt:
        if not any(c in cfg.prompt for c in " :"):
            known = sorted(name for name, text in sentences.prompts.items() if text)
            what = f"prompt = {cfg.prompt!r}: {cfg.model} has the prompts {known}"
            raise ValueError(f'{what}; name one, or write the text itself, such as "query: "')
        sentences.prompts[OWN_PROMPT], sentences.default_prompt_name = cfg.prompt, OWN_PROMPT
    return sentences


def _positions(network: nn.Module) -> int | None:
    """How many tokens have a position embedding of their own; None: positions are relative or rotary."""
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return None
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)


def run_model(model: Any, captions: Sequence[str], output: str | None) -> Any:
    on = device()
    with autocast(on, enabled=on.type == "cuda"):
        return model.encode(list(captions), batch_size=64, output_value=output, show_progress_bar=False)


def token_states(layers: Any, captions: Sequence[str]) -> np.ndarray:
    """(b, max_tokens, d) float32."""
    encoded = run_model(layers, captions, "token_embeddings")
    block = np.zeros((len(captions), layers.max_seq_length, encoded[0].shape[-1]), np.float32)
    for row, states in zip(block, encoded, strict=True):
        row[: len(states)] = states.float().cpu().numpy()
    return block


def early_layers(cfg: TokenEncoder) -> Any:
    """The SentenceTransformer without its last `cfg.tune` layers, and without what follows them."""
    sentences = load_model(cfg)
    _split(cfg, sentences)
    return sentences


def early_tensors(cfg: TokenEncoder) -> dict[str, torch.Tensor]:
    """The tensors of `early_layers`, by their names in the pretrained model."""
    return early_layers(cfg).state_dict()


class LateLayers(nn.Module):
    """The trained layers: states (b, t, d) -> states; a position of zeros is no token."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    @property
    def in_order(self) -> list[nn.Module]:
        """Its layers, from the first to the last."""
        return list(self.layers)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        token_mask = is_token(states)
        mask = torch.zeros(token_mask.shape, dtype=states.dtype, device=states.device)
        mask = mask.masked_fill(~token_mask, torch.finfo(states.dtype).min)[:, None, None]
        for layer in self.layers:
            states = layer(states, mask)
        return states * token_mask[..., None]


class LateModel(nn.Module):
    """The same for any transformer: its own code makes masks, rotary embeddings and relative positions, and applies
    what follows the layers; `model` starts from the states."""

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module]) -> None:
        """`layers`: those of `model`, from the first to the last."""
        super().__init__()
        self.model, self.in_order = model, [*layers]  # a list, so that they are registered once

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        token_mask = is_token(states)
        attended = token_mask | ~token_mask.any(1, keepdim=True)  # a row must attend to something
        out = self.model(inputs_embeds=states, attention_mask=attended.long()).last_hidden_state
        return out * token_mask[..., None]


class _Given(nn.Module):  # in place of the embeddings
    def forward(self, *args: Any, **settings: Any) -> torch.Tensor:
        given = (v for v in (*args, *settings.values()) if isinstance(v, torch.Tensor))
        return next(v for v in given if v.is_floating_point() and v.ndim == 3)


def is_token(states: torch.Tensor) -> torch.Tensor:
    """(b, t) bool of states (b, t, d): False after a caption's last token."""
    return (states != 0).any(-1)


def late_layers(cfg: TokenEncoder) -> LateLayers | LateModel:
    """The pretrained layers that follow the states of the encoder, and what follows the last one."""
    return _split(cfg, load_sentences(cfg.model))


def _split(cfg: TokenEncoder, sentences: Any) -> LateLayers | LateModel:
    """Removes the last `cfg.tune` layers and returns them; raises ValueError where there are fewer, or where the two
    parts don't compute what the whole model does."""
    network = sentences[0].auto_model
    owner, name, layers = _stack(cfg, network)
    if network.config.model_type in MASK_ONLY or not cfg.tune:
        keep = len(layers) - cfg.tune
        setattr(owner, name, layers[:keep])
        return LateLayers([*layers[keep:]])
    features = sentences[0].preprocess(list(PROBE))
    inputs = {key: features[key].to(network.device) for key in ("input_ids", "attention_mask")}
    mask = inputs["attention_mask"].bool()
    try:
        with torch.no_grad():
            expected = network(**inputs).last_hidden_state
            late = _late_model(network, owner, name, len(layers) - cfg.tune)
            states = network(**inputs).last_hidden_state * mask[..., None]
            fits = torch.allclose(late.eval()(states)[mask], expected[mask], rtol=1e-3, atol=1e-3, equal_nan=True)
    except (AttributeError, IndexError, RuntimeError, TypeError, UnboundLocalError) as error:
        raise ValueError(f"model = {cfg.model!r}: can't be split with tune = {cfg.tune} ({error})") from error
    if not fits:
        kind = network.config.model_type
        raise ValueError(f"model = {cfg.model!r}: a {kind} can't be split with tune = {cfg.tune}; use [caption]")
    return late


def _late_model(network: nn.Module, owner: nn.Module, name: str, keep: int) -> LateModel:
    """Removes the layers `owner.name` of a network after the first `keep`, and what follows the last one."""
    layers = getattr(owner, name)
    after = _called_after(network, owner, layers[-1])
    setattr(owner, name, nn.ModuleList())
    late = copy.deepcopy(network)  # without the layers
    late_owner = late.get_submodule(next(path for path, part in network.named_modules() if part is owner))
    setattr(late_owner, name, layers[keep:])
    _start_from_states(late, late_owner, layers, keep)
    setattr(owner, name, layers[:keep])
    for child in after:
        setattr(owner, child, nn.Identity())
    return LateModel(late, layers[keep:])


def _stack(cfg: TokenEncoder, network: Any) -> tuple[nn.Module, str, nn.ModuleList]:
    """(the module that has the layers, under which name, the layers)."""
    number = getattr(network.config, "num_hidden_layers", 0)
    found = [
        (owner, name, child)
        for owner in network.modules()
        for name, child in owner.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == number and len({type(layer) for layer in child}) == 1
    ]
    if len(found) != 1:
        kind = network.config.model_type
        raise ValueError(f"model = {cfg.model!r}: a {kind} has no one list of its {number} layers; use [caption]")
    if number < cfg.tune:
        raise ValueError(f"model = {cfg.model!r}: {number} layers, but tune = {cfg.tune}")
    return found[0]


@torch.no_grad()
def _called_after(network: nn.Module, owner: nn.Module, last: nn.Module) -> list[str]:
    """The parts of `owner` that run after the last layer: a norm, a dropout."""
    called: list[nn.Module] = []
    parts = [part for part in (last, *owner.children()) if not isinstance(part, nn.ModuleList)]
    handles = [part.register_forward_hook(lambda module, *_: called.append(module)) for part in parts]
    on = next(network.parameters()).device
    try:
        network(input_ids=torch.ones(1, 2, dtype=torch.long, device=on))
    finally:
        for handle in handles:
            handle.remove()
    behind = called[called.index(last) + 1 :]
    return [name for name, child in owner.named_children() if any(child is part for part in behind)]


def _start_from_states(network: Any, owner: Any, layers: nn.ModuleList, keep: int) -> None:
    """Makes a network whose first `keep` layers were removed continue from the states that these return."""
    if hasattr(network, "embeddings"):
        network.embeddings = _Given()
    else:
        network.set_input_embeddings(nn.Identity())
    if hasattr(network, "pooler"):
        network.pooler = None
    config = getattr(owner, "config", network.config)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[keep:]
        config.num_hidden_layers = len(layers) - keep
    if keep and hasattr(owner, "conv"):
        owner.conv = None  # DeBERTa: it follows the first layer
    if keep and config.model_type in RELATIVE_FIRST:
        first, now = (cast(Any, layers[i]).layer[0].SelfAttention for i in (0, keep))
        if not now.has_relative_attention_bias:
            now.has_relative_attention_bias = True
            now.relative_attention_bias = copy.deepcopy(first.relative_attention_bias)
