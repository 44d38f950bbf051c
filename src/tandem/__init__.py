"""Tandem: multi-label image classification with captions, from a competition zip to a validated submission."""

__version__ = "0.1.0"
