"""Measurements: both sides in one run, on the same work, with correctness checked in the same script."""
