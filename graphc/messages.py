"""Messages for those who ask: GRAPHC_LOG=recompile,copy names the topics that are written to standard error."""

from __future__ import annotations

import os
import sys


def log(topic: str, message: str) -> None:
    """Write a message, if its topic was asked for."""
    if topic in os.environ.get("GRAPHC_LOG", "").split(","):
        print(f"graphc [{topic}] {message}", file=sys.stderr)
