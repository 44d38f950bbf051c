"""The report: what is on disk about one submission, as one HTML page that needs nothing else.

A module a section: arrays in, plain values for the page out. `page` puts them together, `assets/` is how they look.
"""
