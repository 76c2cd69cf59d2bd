"""Rate and distortion of trained INRs under our profiles and every coder they are compared with.

``python -m bench.harness.corpus`` trains the networks, ``python -m bench.rate`` measures; see ``README.md`` here.
"""
