"""From probabilities to label sets: decoders tuned on the competition's own metric, and scored honestly."""

from tandem.decoding.decoder import DECODERS, Decoder, standing
from tandem.decoding.label_rule import Rule, binarize
from tandem.decoding.nested_cv import CrossFit

__all__ = ["DECODERS", "CrossFit", "Decoder", "Rule", "binarize", "standing"]
