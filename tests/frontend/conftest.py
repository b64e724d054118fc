"""Everything that is compiled in these tests is verified after every pass."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _verify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
