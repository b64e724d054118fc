"""Messages for those who ask: GRAPHC_LOG=cache,compile,copy,recompile names the topics written to standard error."""

from __future__ import annotations

import os
import sys


def wanted(topic: str) -> bool:
    """Whether a topic was asked for."""
    return topic in os.environ.get("GRAPHC_LOG", "").split(",")


def log(topic: str, message: str) -> None:
    """Write a message, if its topic was asked for."""
    if wanted(topic):
        print(f"graphc [{topic}] {message}", file=sys.stderr)
