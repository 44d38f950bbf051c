"""Advice about the decoder and the submission that it wrote."""

from collections.abc import Iterator

from tandem.decoding import default_decoder
from tandem.report.advice.item import Advice
from tandem.report.data_model import FocusExperiment, ReportData

OPTIMISM = 0.01  # in-sample score minus cross-fitted score


def decoder_choice(data: ReportData, focus: FocusExperiment) -> Iterator[Advice]:
    scores, recipe, submission = focus.scores, focus.recipe, focus.submission
    used = scores["decoders"][scores["decoder"]]
    best, most = max(scores["decoders"].items(), key=lambda item: item[1]["score"])
    if best != scores["decoder"]:  # a significant gain would have selected it
        yield Advice(
            f"Keep the decoder: the gain of {best} is not significant",
            f"{most['score']:.4f} against {used['score']:.4f} for {scores['decoder']} in use; its gain over "
            f"{default_decoder(scores['metric'])} is {most['gain']:+.4f}, 95 % interval {most['low']:+.4f} to "
            f"{most['high']:+.4f}",
            "decoding",
        )
    if submission and submission["decoder"] != recipe:
        yield Advice(
            "Write the submission again: it is older than these predictions",
            f"it was decoded by {submission['decoder']['decoder']}, when the score was "
            f"{submission['out_of_fold']['score']:.4f}; now {recipe['decoder']} is in use and scores "
            f"{scores['score']:.4f}",
            "summary",
            command=f"make submit COMP={data.comp}",
        )
    if used["optimism"] > OPTIMISM:
        yield Advice(
            "Use a decoder with fewer parameters: this one overfits",
            f"{used['in_sample']:.4f} on the rows it was tuned on, {used['score']:.4f} on others; the difference of "
            f"the simplest decoder is {next(iter(scores['decoders'].values()))['optimism']:.4f}",
            "decoding",
        )
