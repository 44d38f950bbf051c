"""Tandem: multi-label image classification with captions, from a competition zip to a validated submission."""

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "Labeler":  # at its first use: it imports torch, which light stages do without
        from tandem.inference.labeler import Labeler

        return Labeler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
