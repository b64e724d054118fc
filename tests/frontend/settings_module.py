"""Values that compiled functions in tests read from a Python module."""

SCALE = 2.0
