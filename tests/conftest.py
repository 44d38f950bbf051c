"""Property tests draw the same examples in every run; `--hypothesis-profile=search` looks for new ones."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("search")
settings.load_profile("repeatable")
