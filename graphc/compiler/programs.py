"""Graph to program: by the cache on disk, or by passes and code generation.

Those are imported when a graph is compiled, and only then: they bring Numba along, and a warm start does without.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

from graphc.codegen.compile_times import CompileTimes, count, stage
from graphc.codegen.host import host_target
from graphc.compiler.options import ProgramOptions
from graphc.compiler.places import moved, places_of
from graphc.ir.graph import Graph
from graphc.ir.location import Location
from graphc.ir.target import Target
from graphc.ir.text.printer import print_graph
from graphc.runtime.cache import Store, default_store
from graphc.runtime.cache_entry import key_of, short_hash
from graphc.runtime.cache_versions import PROGRAM_CODE, code_is_unchanged, versions
from graphc.runtime.manifest import program_from, program_record
from graphc.runtime.messages import log, wanted
from graphc.runtime.program import Program

KIND = "programs"
_FORMAT = "1"  # of the payload
_LENGTH = 8  # bytes of the length that precedes the record


def program_for(graph: Graph, options: ProgramOptions, times: CompileTimes) -> Program:
    """The program of a graph (of the stage `traced` or `differentiated`) for this machine. With GRAPHC_VERIFY=1 the
    graph is verified after every pass."""
    target = host_target()
    verify = os.environ.get("GRAPHC_VERIFY", "0") not in ("", "0")
    store = default_store()
    if store is None:
        return _compile(graph, target, options, verify, times)
    with stage("look up"):
        places, pattern = places_of(graph)
        parts = _parts(graph, pattern, target, {"verify": str(verify), "autotune": str(options.autotune)})
        key = key_of(parts)
        found = _cached(store, key, places)
    if found is not None:
        log("cache", f"{graph.name}: hit")
        count("found")
        return found
    if wanted("cache"):
        log("cache", f"{graph.name}: miss, {store.why_missed(KIND, graph.name, parts)}")
    program = _compile(graph, target, options, verify, times)
    with stage("keep"):
        if code_is_unchanged(PROGRAM_CODE):
            store.put(KIND, key, _encode(program, places), graph.name, parts)
        else:
            log("cache", f"{graph.name}: not kept, since graphc's code has changed since this process began")
    return program


def _compile(graph: Graph, target: Target, options: ProgramOptions, verify: bool, times: CompileTimes) -> Program:
    with stage("import"):
        pipeline = import_module("graphc.passes.pipeline")
        codegen = import_module("graphc.codegen.compile")
    start = time.perf_counter()
    stages = pipeline.lower(graph, target, verify_each=verify)
    lowering = time.perf_counter() - start
    for timing in stages.timings:
        times.add(timing.pass_name, timing.seconds)
        lowering -= timing.seconds
    times.add("schedule", lowering)
    with stage("emit"):
        emitted = codegen.emit(stages.schedule, target, tuned=options.autotune)
    program: Program = emitted.compile()
    return program


# --- what is kept


def _parts(graph: Graph, pattern: list[int], target: Target, options: dict[str, str]) -> dict[str, Any]:
    """What a program depends on. Names of ports are not quite those in the text; of the users' lines, it counts which
    of them are the same (see `graphc.compiler.places`)."""
    machine = {name: str(value) for name, value in asdict(target).items()}
    names = [value.name for value in (*graph.args, *graph.results)]
    return {
        "graph": short_hash(f"{names}\n{print_graph(graph, locations=False)}"),
        "division into lines": short_hash(str(pattern)),
        "options": options,
        "target": {**machine, "features": short_hash(target.features)},
        "versions": {"entry": _FORMAT, **versions(PROGRAM_CODE)},
    }


def _cached(store: Store, key: str, places: Sequence[Location]) -> Program | None:
    payload = store.get(KIND, key)
    if payload is None:
        return None
    try:
        return _decode(payload, places)
    except (ValueError, TypeError, LookupError) as error:
        store.discard(KIND, key, str(error))
        return None


def _encode(program: Program, places: Sequence[Location]) -> bytes:
    """The length of the record, the record, and the objects one after the other."""
    record = {
        "program": program_record(program),
        "objects": [len(image) for image in program.objects],
        "places": [[place.file, place.line] for place in places],
    }
    text = json.dumps(record).encode()
    return b"".join([len(text).to_bytes(_LENGTH, "little"), text, *program.objects])


def _decode(payload: bytes, places: Sequence[Location]) -> Program:
    end = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    record = json.loads(payload[_LENGTH:end])
    objects: list[bytes] = []
    for size in record["objects"]:
        objects.append(payload[end : end + size])
        end += size
    before = [Location(*place) for place in record["places"]]
    return moved(program_from(record["program"], objects), before, places)
