"""How a program is made and run, where the user has a say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProgramOptions:
    """threads: on how many threads the program runs, instead of what `graphc.set_num_threads` says and its own estimate
    finds worth while. autotune: contractions are cut as measurements find best."""

    threads: int | None = None
    autotune: bool = False


DEFAULT = ProgramOptions()
