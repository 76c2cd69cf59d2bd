"""How Hypothesis chooses its examples: the same in every run, or with ``--hypothesis-profile random`` new ones."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("repeatable")
