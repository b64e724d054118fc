"""Settings of the whole test suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no failure: examples may take as long as they like, and so may drawing them.
settings.register_profile("graphc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("graphc")
