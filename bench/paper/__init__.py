"""The paper's experiments and the questions it leaves open; ``python -m bench.paper`` runs them."""
