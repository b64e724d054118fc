"""Measurements: both sides in one run, on the same work, with correctness checked in the same script.

What the scripts share: `processes` (fresh processes of one system each, in turns), `report` (tables, JSON), `plot`.
"""
