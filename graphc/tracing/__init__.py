"""Tracing: a Python function over tensors becomes a graph."""

from __future__ import annotations

from graphc.tracing.protocol import create_state, guard, scalar_input

__all__ = ["create_state", "guard", "scalar_input"]
