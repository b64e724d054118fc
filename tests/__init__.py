"""Tests, and what they share: `random_graphs`."""
