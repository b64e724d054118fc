"""Settings of the whole test suite."""

from __future__ import annotations

import os
import shutil
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import graphc

# A busy machine is no failure: examples may take as long as they like, and so may drawing them.
settings.register_profile("graphc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("graphc")


def pytest_configure(config: pytest.Config) -> None:
    """A cache of the run's own, which all of its processes share."""
    if not hasattr(config, "workerinput"):
        os.environ["GRAPHC_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphc-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["GRAPHC_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order(request: pytest.FixtureRequest) -> None:
    """Every test draws the same numbers, whichever ran before it in its process."""
    graphc.manual_seed(0)
    if hasattr(request.module, "RNG"):
        request.module.RNG = np.random.default_rng(0)
