"""Measurements: throughput suites, experiments, and the results they write."""
