"""From probabilities to label sets: decoders tuned on the competition's own metric, and scored honestly."""

from tandem.decode.crossfit import CrossFit
from tandem.decode.decoder import DECODERS, Decoder, standing
from tandem.decode.rule import Rule, binarize

__all__ = ["DECODERS", "CrossFit", "Decoder", "Rule", "binarize", "standing"]
