"""From probabilities to label sets: decoders tuned on the competition's metric, scored by nested cross-validation."""

from tandem.decoding.decoder import DECODERS, Decoder, default_decoder
from tandem.decoding.label_rule import Rule, binarize
from tandem.decoding.nested_cv import NestedCV

__all__ = ["DECODERS", "Decoder", "NestedCV", "Rule", "binarize", "default_decoder"]
