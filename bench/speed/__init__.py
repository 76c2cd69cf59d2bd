"""How fast it is: the engine, decoding, fits, refinement, kernels on a GPU."""
