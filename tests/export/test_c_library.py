"""Exported programs used from C."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.codegen.c_header import c_header, c_name, c_names
from graphc.codegen.compile import emit
from graphc.codegen.host import find_target
from graphc.codegen.red_zones import ZONE
from graphc.exporting import export_graph
from graphc.ir import Builder, Graph, TensorType, Value, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8
from graphc.passes.pipeline import lower
from graphc.runtime.artifact import artifact_file, load_program
from graphc.runtime.program import MachineTarget, Port, Program
from tests.export.c_programs import WARNINGS, build, compile_with, needs_cc, needs_valgrind, run
from tests.fusion.training_graphs import arguments, mlp

pytestmark = needs_cc

DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "step.h"

static void *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) exit(10);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    void *data = malloc((size_t)size);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) exit(11);
    fclose(file);
    return data;
}

/* STATES IMAGES LABELS STEPS SAVED */
int main(int argc, char **argv) {
    if (argc != 6) return 12;
    step *self = step_init(argv[1]);
    if (!self) return 13;
    float *images = read_file(argv[2]), *loss = malloc(sizeof *loss);
    int64_t *labels = read_file(argv[3]);
    for (int i = atoi(argv[4]); i > 0; i--) {
        int32_t status = step_step(self, images, labels, loss);
        if (status) {
            printf("%s\n", step_message(status));
            break;
        }
        printf("%.9g\n", *loss);
    }
    if (step_save(self, argv[5])) return 14;
    free(images);
    free(labels);
    free(loss);
    step_free(self);
    return 0;
}
"""


def exported_step(folder: Path, **options: object) -> tuple[Path, np.ndarray, np.ndarray]:
    """A small training step in files; and what to feed it."""
    graphc.manual_seed(0)
    net = graphc.nn.Sequential(graphc.nn.Linear(12, 9), graphc.nn.ReLU(), graphc.nn.Linear(9, 5))
    optimizer = graphc.optim.Adam(net.parameters(), lr=0.05)

    @graphc.compile
    def step(images: graphc.Tensor, labels: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = graphc.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    numbers = np.random.default_rng(0)
    images, labels = numbers.normal(size=(7, 12)).astype(np.float32), numbers.integers(0, 5, 7)
    graphc.export(step, (images, labels), folder / "step", **options)  # type: ignore[arg-type]
    images.tofile(folder / "images")
    labels.tofile(folder / "labels")
    return folder / "step", images, labels


def train_in_c(program: Path, prefix: Path, steps: int, **options: bool) -> list[str]:
    folder = prefix.parent
    states, saved = artifact_file(prefix, "safetensors"), folder / "saved.safetensors"
    return run(program, states, folder / "images", folder / "labels", str(steps), saved, **options).split("\n")[:-1]


@pytest.mark.parametrize("linked", ["so", "o"])
def test_c_and_python_compute_the_same(tmp_path: Path, linked: str) -> None:
    prefix, images, labels = exported_step(tmp_path)
    program = build(tmp_path, DRIVER, [artifact_file(prefix, linked)])
    losses = train_in_c(program, prefix, 5)
    python = load_program(prefix)
    assert losses == [f"{python(images, labels)[0]:.9g}" for _ in range(5)]
    saved = load_program(prefix, state=tmp_path / "saved.safetensors")
    for name, array in python.state_dict().items():
        np.testing.assert_array_equal(saved.state_dict()[name], array)
    python.save(tmp_path / "python.safetensors")
    assert (tmp_path / "python.safetensors").read_bytes() == (tmp_path / "saved.safetensors").read_bytes()


@needs_valgrind
@pytest.mark.parametrize("debug", [False, True])
def test_memory_is_sound(tmp_path: Path, debug: bool) -> None:
    """valgrind knows no AVX-512, hence the target. It sees accesses outside of the caller's arrays and of the instance,
    and values that were never written; the debug build, those between the instance's buffers."""
    prefix, images, labels = exported_step(tmp_path, target="x86-64-v3", debug=debug)
    program = build(tmp_path, DRIVER, [artifact_file(prefix, "so")])
    python = load_program(prefix)
    expected = [f"{python(images, labels)[0]:.9g}" for _ in range(3)]
    assert train_in_c(program, prefix, 3, valgrind=True) == expected


def test_faults_in_c(tmp_path: Path) -> None:
    prefix, _, labels = exported_step(tmp_path)
    program = build(tmp_path, DRIVER, [artifact_file(prefix, "so")])
    (labels + 3).tofile(tmp_path / "labels")
    (message,) = train_in_c(program, prefix, 3)
    assert re.fullmatch(r".*test_c_library\.py:\d+: check_index\(i64\[7\]\) .*: index out of range", message)
    saved = (tmp_path / "saved.safetensors").read_bytes()
    assert saved == artifact_file(prefix, "safetensors").read_bytes()  # no state has changed


def test_state_files_that_do_not_fit(tmp_path: Path) -> None:
    prefix, *_ = exported_step(tmp_path)
    program = build(tmp_path, DRIVER, [artifact_file(prefix, "so")])
    states = artifact_file(prefix, "safetensors").read_bytes()
    wrong = tmp_path / "wrong"
    for data in (b"", states[:20], states[:-1], states.replace(b"F32", b"I32")):
        wrong.write_bytes(data)
        run(program, wrong, tmp_path / "images", tmp_path / "labels", "1", tmp_path / "saved", status=13)
    run(program, tmp_path / "missing", tmp_path / "images", tmp_path / "labels", "1", tmp_path / "saved", status=13)
    good = artifact_file(prefix, "safetensors")
    run(program, good, tmp_path / "images", tmp_path / "labels", "1", tmp_path / "no folder" / "saved", status=14)
    assert not list(tmp_path.glob("*.tmp"))


@needs_valgrind
def test_the_whole_interface(tmp_path: Path) -> None:
    """States by index, an instance of zeros, two instances at a time, failed saves and inits: with no leak."""
    graph = Graph("g", [Value(TensorType(f64, (3,)), name="x")], [Value(TensorType(f64, (3,)), name="total.sum")])
    graph.updates[graph.states[0]] = Builder(graph).add(*graph.args)
    export_graph(graph, [np.arange(3.0)], tmp_path / "sum", target="x86-64-v3", debug=True)
    source = r"""
    #include <stdio.h>
    #include <string.h>
    #include "sum.h"
    int main(int argc, char **argv) {
        double x[3] = {1, 2, 3};
        char path[4096];
        if (argc != 2) return 1;
        snprintf(path, sizeof path, "%s/sum.safetensors", argv[1]);
        sum *a = sum_init(NULL), *b = sum_init(path);
        if (!a || !b || SUM_STATES != 1 || SUM_BYTES_TOTAL_SUM != sizeof x) return 2;
        if (sum_init("/no/such/file") || sum_init(argv[1])) return 3;
        double *total = sum_state(a, SUM_STATE_TOTAL_SUM);
        if (!total || sum_state(a, 1) || sum_state(a, -1) || (uintptr_t)total % 64) return 4;
        for (int i = 0; i < 10; i++)
            if (sum_step(a, x) || sum_step(b, x)) return 5;
        printf("%g %g %g\n", total[0], total[1], total[2]);
        memcpy(total, x, SUM_BYTES_TOTAL_SUM);
        total = sum_state(b, SUM_STATE_TOTAL_SUM);
        printf("%g %g %g\n", total[0], total[1], total[2]);
        printf("%s, %s, %s\n", sum_message(0), sum_message(-1), sum_message(1000));
        if (!sum_save(a, "/no/such/folder/file") || !sum_save(a, argv[1])) return 6;
        sum_free(a);
        sum_free(b);
        sum_free(NULL);
        return 0;
    }
    """
    program = build(tmp_path, source, [tmp_path / "sum.so"], name="use")
    printed = run(program, tmp_path, valgrind=True)
    assert printed == "10 20 30\n10 21 32\nok, unknown status, unknown status\n"
    assert not list(tmp_path.glob("*.tmp"))


def test_a_debug_build_notices_a_write_behind_a_state(tmp_path: Path) -> None:
    graph = Graph("g", [], [Value(TensorType(f32, (5,)), name=name) for name in "ab"])
    builder = Builder(graph)
    graph.updates = {state: builder.neg(state) for state in graph.states}
    target = find_target("host")
    code = emit(lower(graph, target, red_zone=ZONE).schedule, target, debug=True)
    kernel = code.kernels[0]
    bad = dataclasses.replace(kernel, source=f"{kernel.source.rstrip()}\n    p0[BAD] = p0[0]\n")
    main = """
    #include <stdio.h>
    #include "pair.h"
    int main(void) {
        pair *self = pair_init(NULL);
        printf("%s\\n", pair_message(pair_step(self)));
        pair_free(self);
        return 0;
    }
    """
    for place, message in (("0", "ok"), ("5", "a kernel wrote behind a state"), ("20", "a kernel wrote behind")):
        kernels = (dataclasses.replace(bad, source=bad.source.replace("BAD", place)), *code.kernels[1:])
        program = dataclasses.replace(code, kernels=kernels).compile_library("pair")
        (tmp_path / "pair.o").write_bytes(program.objects[0])
        (tmp_path / "pair.h").write_text(c_header(program, "pair"))
        assert run(build(tmp_path, main, [tmp_path / "pair.o"])).startswith(message)


# --- what the library needs and shows

# What a shared library of these programs may take from libc and libm, and what crt files may add, weakly.
LIBC = {
    "aligned_alloc",
    "fclose",
    "fopen",
    "fread",
    "free",
    "fwrite",
    "malloc",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
}
LIBC |= {"remove", "rename", "strlen"}
THREADS = {f"pthread_{name}" for name in ("cond_broadcast", "cond_wait", "create", "join", "sigmask")}
THREADS |= {"pthread_mutex_lock", "pthread_mutex_unlock", "sched_yield", "clock_gettime", "getpid"}
LIBC |= THREADS | {"bcmp", "getenv", "strtol", "sysconf"}
LIBM = {"exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "pow", "fmod", "fmodf", "exp2", "exp10", "ldexp"}
LIBM |= {"sincos"}  # of glibc and musl: LLVM joins sin and cos
WEAK = {"__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"}
INTERFACE = {f"step_{name}" for name in ("init", "step", "threads", "state", "save", "message", "free", "run")}


def symbols(path: Path, *options: str) -> set[str]:
    done = subprocess.run(["nm", *options, str(path)], capture_output=True, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in done.stdout.splitlines() if line.strip()}


def wide_graph() -> Graph:
    """A graph that uses every library function, each half precision, random numbers, and integer division."""
    x = Value(TensorType(f64, (5,)), name="x")
    narrow = [Value(TensorType(dtype, (5,)), name=dtype.name) for dtype in (f32, f16, bf16)]
    whole, key = Value(TensorType(i32, (5,)), name="i32"), Value(TensorType(i64, ()), name="key")
    graph = Graph("wide", [x, *narrow, whole, key])
    b = Builder(graph)
    for value in (x, *narrow):
        for name in ("exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "sigmoid", "sqrt", "rsqrt"):
            graph.results.append(getattr(b, name)(value))
        graph.results += [b.pow(value, value), b.mod(value, value), b.floor_div(value, value)]
    graph.results += [b.floor_div(whole, whole), b.mod(whole, whole), b.pow(whole, whole)]
    graph.results += [b.random_normal(key, key, dtype=dtype, shape=(9,)) for dtype in (f32, f64)]
    return graph


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("target", ["host", "x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("graph", [wide_graph(), mlp("adam", (20, 16, 3), 8, dropout=True)], ids=["wide", "mlp"])
def test_only_libc_libm_and_threads_are_needed(tmp_path: Path, graph: Graph, target: str, debug: bool) -> None:
    states = arguments(graph)[1]
    export_graph(graph, states, tmp_path / "step", target=target, debug=debug)
    needed = symbols(tmp_path / "step.so", "-D", "--undefined-only")
    assert needed <= LIBC | LIBM | WEAK
    assert needed >= THREADS
    assert symbols(tmp_path / "step.o", "--undefined-only") <= LIBC | LIBM | {"_GLOBAL_OFFSET_TABLE_"}
    assert symbols(tmp_path / "step.so", "-D", "--defined-only") == INTERFACE
    assert symbols(tmp_path / "step.o", "-g", "--defined-only") == INTERFACE
    dynamic = subprocess.run(["readelf", "-d", tmp_path / "step.so"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= {"libc.so.6", "libm.so.6"}
    assert re.findall(r"SONAME.*\[(.*)\]", dynamic) == ["step.so"]


def test_nothing_tells_of_python(tmp_path: Path) -> None:
    exported_step(tmp_path)
    assert symbols(tmp_path / "step.so", "-D", "--defined-only") == INTERFACE
    text = (tmp_path / "step.so").read_bytes().lower()
    for word in (b"numba", b"python", b"pyobject"):
        assert word not in text.replace(b"test_c_library.py", b"")


def test_two_programs_in_one_process(tmp_path: Path) -> None:
    for name, op in (("first", "neg"), ("second", "abs")):
        graph = Graph("same", [Value(TensorType(f32, ()), name="x")])
        graph.results = [getattr(Builder(graph), op)(graph.args[0])]
        export_graph(graph, [], tmp_path / name)
    source = """
    #include <stdio.h>
    #include "first.h"
    #include "second.h"
    int main(void) {
        float x = -2, y, z;
        first *a = first_init(NULL);
        second *b = second_init(NULL);
        if (first_step(a, &x, &y) || second_step(b, &x, &z)) return 1;
        printf("%g %g\\n", y, z + 1);
        first_free(a);
        second_free(b);
        return 0;
    }
    """
    for suffix in ("so", "o"):
        program = build(tmp_path, source, [tmp_path / f"{name}.{suffix}" for name in ("first", "second")])
        assert run(program) == "2 3\n"


# --- the header


HEADER_PROGRAM = Program(
    name="odd",
    entry="odd_run",
    objects=(),
    inputs=tuple(
        Port(name, TensorType(dtype, (2, 3)))
        for name, dtype in zip(
            ["self", "int", "class", "a b", "a.b", "3d", "ünïcode", "*/ int x; /*", "linux", "A_B"],
            [f32, f64, bf16, f16, i8, i16, i32, i64, u8, bool_],
            strict=True,
        )
    ),
    states=(
        Port("*/ #error", TensorType(f32, ()), updated=True),
        Port("fc.weight", TensorType(f32, (0,))),
        Port("fc_weight", TensorType(f64, (70000, 70000))),
        Port("FC.WEIGHT", TensorType(i64, ())),
    ),
    outputs=(Port("self", TensorType(f32, ())), Port("output", TensorType(bool_, (4,)))),
    arena_bytes=0,
    scratch_bytes=64,
    parallelism=4,
    faults=(),
    target=MachineTarget("x86_64-unknown-linux-gnu", "*/ cpu", ""),
)


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("standard", ["11", "17"])
def test_header_compiles(tmp_path: Path, language: str, standard: str) -> None:
    (tmp_path / "odd.h").write_text(c_header(HEADER_PROGRAM, "odd"))
    source = tmp_path / "use"
    source.write_text('#include "odd.h"\n#include "odd.h"\nodd *kept(void);\nodd *kept(void) { return odd_init(0); }\n')
    standard = f"-std={language}{standard}"
    compile_with(["cc", "-x", language, standard, *WARNINGS, f"-I{tmp_path}", "-c", "-o", tmp_path / "use.o", source])


def test_header_text() -> None:
    text = c_header(HEADER_PROGRAM, "odd")
    (step,) = re.findall(r"odd_step\((.*)\);", text)
    assert step.split(", ") == [
        "odd *self",
        "const float *self_2",
        "const double *_int",
        "const uint16_t *_class",
        "const uint16_t *a_b",
        "const int8_t *a_b_2",
        "const int16_t *_3d",
        "const int32_t *_n_code",
        "const int64_t *___int_x____",
        "const uint8_t *_linux",
        "const uint8_t *A_B_3",
        "float *self_3",
        "uint8_t *output",
    ]
    assert "    ODD_STATE_FC_WEIGHT_2 = 2, /* fc_weight: f64[70000,70000], only read */" in text
    assert "#define ODD_BYTES_FC_WEIGHT_2 39200000000" in text
    assert "   input  a_b_2: i8[2,3], 6 bytes" in text
    assert "ODD_STATES = 4" in text


def test_names() -> None:
    assert [c_name(n) for n in ("fc1.weight", "", "0", "int", "a-b c", "ok_1")] == [
        "fc1_weight",
        "_",
        "_0",
        "_int",
        "a_b_c",
        "ok_1",
    ]
    assert c_names(["a", "A", "a_2", "a"], taken=["a_3"]) == ["a", "A_2", "a_2_2", "a_4"]
