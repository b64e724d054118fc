"""The decorator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.compiler.function import CompiledFunction
from graphc.compiler.modules import compile_class, compile_module
from graphc.compiler.options import ProgramOptions
from graphc.nn.module import Module
from graphc.runtime.pool import checked_threads


def compile(
    target: Any = None,
    *,
    keep_grads: bool = False,
    static_argnames: Sequence[str] = (),
    dump: str | None = None,
    name: str | None = None,
    threads: int | None = None,
    autotune: bool = False,
) -> Any:
    """Compile a function of tensors, a module class, or a module. Use as `@graphc.compile`, with or without options, or
    as `net = graphc.compile(net)`.

    keep_grads: `.grad` of parameters holds the gradients after a call that computed them.
    static_argnames: parameters whose arguments are not tensors and are taken as they are, also where they are lists or
        arrays; other numbers and strings are static anyway. A new value compiles a new version.
    dump: a folder into which every stage of each compile is written (also: GRAPHC_DUMP).
    name: the program's name; the function's by default.
    threads: on how many threads the program runs; by default on as many as `graphc.get_num_threads()` says, or fewer
        where its work is too little to be shared out. Results have the same bits for any number.
    autotune: measure a few ways to cut each matrix product, which takes some seconds, and keep the fastest in the cache
        on disk. Results have the same bits.

    A module stays what it is: parameters are shared with the eager one. Raises TypeError for anything else, and
    ValueError for a number of threads below 1 or above 256.
    """
    options: dict[str, Any] = {
        "keep_grads": keep_grads,
        "static_argnames": static_argnames,
        "dump": dump,
        "name": name,
        "options": ProgramOptions(None if threads is None else checked_threads(threads), autotune),
    }
    if target is None:
        return lambda found: _compiled(found, options)
    return _compiled(target, options)


def _compiled(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, Module):
        return compile_module(target, **options)
    if isinstance(target, type):
        if not issubclass(target, Module):
            raise TypeError(f"graphc.compile takes functions, modules and module classes, got class {target.__name__}")
        return compile_class(target, **options)
    if isinstance(target, CompiledFunction):
        target = target.function
    if not callable(target):
        raise TypeError(f"graphc.compile takes functions, modules and module classes, got {type(target).__name__}")
    return CompiledFunction(target, **options)
