"""The functions on tensors, by family."""

from __future__ import annotations

import graphc.tensors.tensor  # noqa: F401  (functions make tensors, so the class must exist)
