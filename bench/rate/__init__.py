"""Rate and distortion of trained INRs under our profiles and every coder they are compared with.

``python -m bench.rate.corpus`` trains the networks, ``python -m bench.rate`` measures; see ``README.md`` here.
"""
