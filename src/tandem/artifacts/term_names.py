"""How reports, explanations and the web page name the terms of a logit, and predictions with one input missing."""

from tandem.artifacts.contributions import NO_CAPTION, NO_IMAGE

TERM_NAMES = {
    "image": "image",
    "caption": "caption",
    "fusion": "fusion",  # only the combination of image and caption
    "context": "other labels",
    "base": "base rate",
}
SINGLE_INPUT_NAMES = {NO_CAPTION: "image only", NO_IMAGE: "caption only"}
