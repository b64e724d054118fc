"""From kernel source to machine code: interface, symbols, vector code, targets."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from llvmlite import binding
from numba.core.errors import TypingError

from graphc.codegen.host import find_target, host_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.llvm import (
    InternalCompilerError,
    check_symbols,
    compile_all,
    compile_kernel,
    compile_module,
    link,
    target_machine,
    unoptimised_llvm,
)
from graphc.ir.errors import GraphcError
from graphc.ir.target import GENERIC_AARCH64, GENERIC_X86_64_V3, GENERIC_X86_64_V4
from graphc.ir.types import f32
from tests.codegen.harness import Array, fused, types_of
from tests.codegen.regions import adam, bias_update, layer_norm, row_vector, softmax

COPY = """def kernel(p0, p1, scratch, fault, lo, hi):
    for unit in range(lo, hi):
        for i in range(64):
            p1[unit * 64 + i] = p0[unit * 64 + i]
"""


def zeros(*shape: int, dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


def test_kernel_is_one_c_function_of_pointers_that_do_not_alias() -> None:
    kernel = Kernel(COPY, (f32, f32), 8)
    text = compile_kernel(kernel, GENERIC_X86_64_V3).llvm_text
    (signature,) = re.findall(r"define void @(\w+)\((.*)\)", text)
    assert signature[0] == kernel.symbol
    parameters = signature[1].split(", ptr ")
    assert len(parameters) == 4
    assert signature[1].count("noalias") == 4
    assert signature[1].endswith("%hi")
    assert not re.findall(r"declare (?!.*@llvm\.)", text)


def test_unoptimised_llvm_is_the_kernel_alone() -> None:
    kernel = Kernel(COPY, (f32, f32), 8)
    text = unoptimised_llvm(kernel, GENERIC_X86_64_V3)
    assert re.findall("define .*@(.*?)\\(", text) == [f'"{kernel.symbol}"']
    assert "declare" not in text
    assert "global" not in text
    assert "alloca" in text


def test_equal_kernels_are_compiled_once() -> None:
    first = compile_kernel(Kernel(COPY, (f32, f32), 8), GENERIC_X86_64_V3)
    again = compile_kernel(Kernel(f"# a comment\n{COPY}", (f32, f32), 8), GENERIC_X86_64_V3)
    other = compile_kernel(Kernel(COPY, (f32, f32), 8), GENERIC_X86_64_V4)
    assert first is again
    assert first is not other


def test_kernels_compiled_together_are_those_compiled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM works in a thread of its own then: no bit depends on that, nor does it leave anything behind."""
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    kernels = [Kernel(COPY.replace("64", str(n)), (f32, f32), 8) for n in (11, 22, 33, 11)]
    interval, threads = sys.getswitchinterval(), threading.active_count()
    monkeypatch.setattr("graphc.codegen.llvm._compiled", {})
    together, (image,) = compile_all(kernels, ["define i32 @seven_driver() {\n  ret i32 7\n}\n"], host_target())
    assert (sys.getswitchinterval(), threading.active_count()) == (interval, threads)
    monkeypatch.setattr("graphc.codegen.llvm._compiled", {})
    alone = [compile_kernel(kernel, host_target()) for kernel in kernels]
    assert [k.object_code for k in together] == [k.object_code for k in alone]
    assert [k.bitcode for k in together] == [k.bitcode for k in alone]
    assert together[0] is together[3]
    assert together[0].object_code != together[1].object_code
    assert ctypes.CFUNCTYPE(ctypes.c_int32)(_load(image, "seven_driver")["seven_driver"])() == 7


def test_what_fails_among_several_is_raised_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    good, wrong = Kernel(COPY, (f32, f32), 21), Kernel(COPY.replace("= p0[", "= fault + p0["), (f32, f32), 22)
    interval = sys.getswitchinterval()
    with pytest.raises(TypingError):
        compile_all([good, wrong], [], host_target())
    with pytest.raises(RuntimeError, match="expected"):
        compile_all([good], ["no LLVM IR"], host_target())
    assert sys.getswitchinterval() == interval
    assert compile_kernel(good, host_target()).object_code


def test_symbol_that_no_program_may_need_is_refused_by_name() -> None:
    text = "declare void @NRT_incref(ptr)\ndefine void @k(ptr %p) {\n  call void @NRT_incref(ptr %p)\n  ret void\n}\n"
    with pytest.raises(InternalCompilerError, match=r"refers to NRT_incref.*\n.*the source"):
        check_symbols(binding.parse_assembly(text), "the source")


def test_types_are_strict() -> None:
    source = COPY.replace("p0[unit * 64 + i]", "add(p0[i], 1)")
    with pytest.raises(TypingError, match="not in the kernel language"):
        compile_kernel(Kernel(source, (f32, f32), 1), host_target())


VECTOR_CASES: dict[str, tuple[str, list[Array], Any, tuple[int, ...] | None]] = {
    "bias and relu": (
        "loop",
        [zeros(64, 128), zeros(128)],
        lambda b, x, y: b.relu(b.add(x, row_vector(b, y, x))),
        None,
    ),
    "exp": ("loop", [zeros(5000)], lambda b, x: b.exp(x), None),
    "mask": ("loop", [zeros(5000)], lambda b, x: b.gt(x, b.full_like(x, 0.0)), None),
    "select": ("loop", [zeros(5000), zeros(5000, dtype=bool)], lambda b, x, m: b.where(m, x, b.neg(x)), None),
    "adam in place": ("loop", [zeros(9000)] * 4 + [zeros()], adam, (0, 1, 2, 3, 4, 0, 2, 3)),
    "pad": (
        "loop",
        [zeros(62, 126)],
        lambda b, x: b.pad(x, low=(1, 1), high=(1, 1), interior=(0, 0), value=0.0),
        None,
    ),
    "softmax of rows": ("reduction", [zeros(64, 512)], softmax, None),
    "softmax of columns": ("reduction", [zeros(64, 512)], lambda b, x: softmax(b, x, 0), None),
    "sum of everything": ("reduction", [zeros(99_999)], lambda b, x: b.sum(x, axes=(0,), keepdims=False), None),
    "bias gradient": ("reduction", [zeros(64, 128), zeros(128)], bias_update, None),
    "layer norm": ("reduction", [zeros(64, 512), zeros(512), zeros(512)], layer_norm, None),
    "embedding gradient": (
        "scatter",
        [zeros(100, 128), zeros(64, dtype=np.int64), zeros(64, 128)],
        lambda b, x, i, u: b.index_add(x, i, u, axis=0),
        None,
    ),
}


@pytest.mark.parametrize("case", VECTOR_CASES)
@pytest.mark.parametrize(
    ("target", "vector"), [(GENERIC_X86_64_V3, "<8 x float>"), (GENERIC_X86_64_V4, "<16 x float>")]
)
def test_loops_become_vector_code_of_the_full_width(case: str, target: Any, vector: str) -> None:
    kind, arrays, build, slots = VECTOR_CASES[case]
    op = fused(kind, types_of(arrays), build)
    slots = slots or tuple(range(len(op.regions[0].args) + len(op.regions[0].results)))
    text = compile_kernel(emit_kernel(op, slots, target), target).llvm_text
    assert vector in text


def test_code_for_another_machine() -> None:
    compiled = compile_kernel(Kernel(COPY, (f32, f32), 8), GENERIC_AARCH64)
    assert compiled.object_code[18:20] == b"\xb7\x00"  # EM_AARCH64
    assert "ret" in compiled.assembly


def test_host_is_described() -> None:
    host = host_target()
    assert host is find_target("host")
    assert host.vector_bytes in (16, 32, 64)
    assert 0 < host.l1_bytes < host.l2_bytes <= host.l3_bytes
    assert host.cores >= 1
    assert target_machine(host).triple


def test_unknown_target_names_the_known_ones() -> None:
    assert find_target("x86-64-v3") is GENERIC_X86_64_V3
    with pytest.raises(GraphcError, match="no target 'pentium'; use one of host, x86-64-v2"):
        find_target("pentium")


CALLER = """
declare void @{symbol}(ptr, ptr, ptr, ptr, i64, i64)
define void @run(ptr %a, ptr %b) {{
  call void @{symbol}(ptr %a, ptr %b, ptr null, ptr null, i64 0, i64 2)
  ret void
}}
"""


def test_linked_object_shows_only_its_entry() -> None:
    compiled = compile_kernel(Kernel(COPY, (f32, f32), 8), host_target())
    image = link([compiled, compiled], [CALLER.format(symbol=compiled.symbol)], {"run"}, host_target())
    tracker = _load(image, "run")
    a, b = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(tracker["run"])(a.ctypes.data, b.ctypes.data)
    np.testing.assert_array_equal(a, b)
    with pytest.raises(RuntimeError):
        _load(image, compiled.symbol)


def test_module_by_itself_can_be_compiled() -> None:
    image = compile_module("define i32 @seven_test() {\n  ret i32 7\n}\n", host_target())
    assert ctypes.CFUNCTYPE(ctypes.c_int32)(_load(image, "seven_test")["seven_test"])() == 7


def _load(image: bytes, symbol: str) -> Any:
    jit = binding.create_lljit_compiler(binding.Target.from_default_triple().create_target_machine(jit=True))
    _alive.append(jit)
    tracker = binding.JITLibraryBuilder().add_object_img(image).export_symbol(symbol).link(jit, f"llvm.{len(_alive)}")
    _alive.append(tracker)
    return tracker


_alive: list[Any] = []


def test_users_own_numba_code_is_as_before() -> None:
    """Compiling a kernel changes no global option of Numba's, adds nothing to its registries, and makes no target."""
    script = (
        "import numpy as np\n"
        "from numba.core import config, imputils, registry\n"
        "from numba.core.typing import templates\n"
        "from graphc.codegen.kernel_functions import KernelFunction\n"
        "before = {k: v for k, v in vars(config).items() if k.isupper()}\n"
        "from graphc.codegen.kernel import Kernel\n"
        "from graphc.codegen.llvm import compile_kernel\n"
        "from graphc.codegen.host import host_target\n"
        "from graphc.ir.types import f32\n"
        f"compile_kernel(Kernel({COPY!r}, (f32, f32), 8), host_target())\n"
        "assert before == {k: v for k, v in vars(config).items() if k.isupper()}\n"
        "assert not any(isinstance(t, KernelFunction) for _, t in templates.builtin_registry.globals)\n"
        "assert not any('graphc' in f[0].__module__ for f in imputils.builtin_registry.functions)\n"
        "assert '_toplevel_target_context' not in vars(registry.cpu_target)\n"
        "import numba\n"
        "def total(x):\n"
        "    s = 0.0\n"
        "    for v in np.sqrt(x):\n"
        "        s += v\n"
        "    return s + abs(-1) + divmod(7, 2)[0]\n"
        "assert numba.njit(total)(np.array([4.0, 9.0])) == 9.0\n"
        f"compile_kernel(Kernel({COPY!r}, (f32, f32), 9), host_target())\n"
        "assert numba.njit(total)(np.array([1.0], np.float32)) == 5.0\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
