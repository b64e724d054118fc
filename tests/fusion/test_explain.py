"""What is said about each kernel: what it holds, and why nothing else."""

from __future__ import annotations

import random
import textwrap

import pytest

from graphc.ir import parse
from graphc.passes.fusion.explain import explain
from graphc.passes.pipeline import lower
from tests.fusion.training_graphs import mlp
from tests.random_graphs import random_graph


def explained(text: str) -> str:
    """The explanation of a graph given by its signature and body; ops are at the lines of the text."""
    lowered = lower(parse(f"graph @f [optimized] {textwrap.dedent(text)}", "f.py", locate=True))
    return explain(lowered.graphs["optimized"], lowered.schedule)


def kernel_with(text: str, part: str) -> str:
    """The paragraph on the one kernel that has `part` in it."""
    (found,) = (kernel for kernel in text.split("\n\n") if part in kernel)
    return found


def test_training_step_of_an_mlp() -> None:
    lowered = lower(mlp("momentum"))
    text = explain(lowered.graphs["optimized"], lowered.schedule)
    assert len(text.split("\n\n")) == len(lowered.schedule.launches)
    assert text.startswith(
        textwrap.dedent("""\
        kernel 0: a contraction that gives %0, %1
          contract of %x f32[64,784] and %fc1.weight f32[128,784]  ; train.py:1
          epilogue: broadcast, add, relu, le  ; train.py:1
          apart from
            kernel 1, reading %0: a contraction takes one product, not also contract (train.py:1)
        """)
    )
    softmax = kernel_with(text, "exp")
    assert "a contraction holds no reduction, here max (train.py:1)" in softmax
    assert "the reductions are over other axes: max (train.py:1) reduces [64, 10] over axes [1]" in softmax
    update = kernel_with(text, "updates %fc1.weight")
    assert "and %x f32[64,784]" in update
    assert "updates %fc1.weight.momentum, %fc1.weight in place" in update


def test_gradient_that_is_never_written() -> None:
    text = explained("""(%x: f32[64,32], %d: f32[64,16]; state %w: f32[16,32]) -> () {
      %w.grad = contract %d, %x {spec = "bn,bk->nk"} : f32[16,32]
      %r = constant {value = 0.1, dtype = f32, shape = [16, 32]} : f32[16,32]
      %s = mul %w.grad, %r : f32[16,32]
      %u = sub %w, %s : f32[16,32]
      return ; update %w = %u
    }""")
    assert text == textwrap.dedent("""\
        kernel 0: a contraction that gives %u
          contract of %d f32[64,16] and %x f32[64,32]  ; f.py:2
          epilogue: mul  ; f.py:4
          epilogue: sub  ; f.py:5
          updates %w in place: the optimizer's update; the gradient %w.grad is never written to memory""")


def test_gradients_that_are_never_written() -> None:
    text = explained("""(%x: f32[8], %d: f32[2,3]; state %v: f32[8], %w: f32[6]) -> () {
      %v.grad = exp %x : f32[8]
      %w.grad = reshape %d {shape = [6]} : f32[6]
      %a = sub %v, %v.grad : f32[8]
      %b = sub %w, %w.grad : f32[6]
      return ; update %v = %a, %w = %b
    }""")
    assert "updates %v, %w in place: the optimizer's update; the gradient %v.grad is never written to memory" in text


def test_attention() -> None:
    text = explained("""(%q: f32[64,16], %k: f32[64,16], %v: f32[64,16]) -> f32[64,16] {
      %s = contract %q, %k {spec = "md,nd->mn"} : f32[64,64]
      %m = max %s {axes = [1], keepdims = true} : f32[64,1]
      %b = broadcast %m {shape = [64, 64], dims = [0, 1]} : f32[64,64]
      %c = sub %s, %b : f32[64,64]
      %e = exp %c : f32[64,64]
      %t = sum %e {axes = [1], keepdims = true} : f32[64,1]
      %u = broadcast %t {shape = [64, 64], dims = [0, 1]} : f32[64,64]
      %p = div %e, %u : f32[64,64]
      %o = contract %p, %v {spec = "mn,nd->md"} : f32[64,16]
      return %o
    }""")
    first, softmax, second = text.split("\n\n")
    assert "kernel 1, reading %s: a contraction holds no reduction, here max (f.py:3)" in first
    assert softmax.splitlines()[0] == "kernel 1: a reduction that gives %p"
    assert "kernel 0, giving %s: a contraction holds no reduction, here max (f.py:3)" in softmax
    assert "kernel 2, reading %p: a contraction holds no reduction, here max (f.py:3)" in softmax
    assert "contract of %p f32[64,64] and %v f32[64,16]  ; f.py:10" in second


def test_operand_prepared_while_packing() -> None:
    text = explained("""(%x: f32[64,32], %y: f32[64,32], %w: f32[5,32]) -> f32[64,5] {
      %p = mul %x, %y : f32[64,32]
      %a = contract %p, %w {spec = "mk,nk->mn"} : f32[64,5]
      return %a
    }""")
    assert "\n  prologue, on %p f32[64,32]: mul  ; f.py:2" in text


def test_operand_that_others_need() -> None:
    text = explained("""(%x: f32[64,32], %y: f32[64,32], %w: f32[5,32], %v: f32[6,32]) -> f32[64,5], f32[64,6] {
      %p = mul %x, %y : f32[64,32]
      %a = contract %p, %w {spec = "mk,nk->mn"} : f32[64,5]
      %b = contract %p, %v {spec = "mk,nk->mn"} : f32[64,6]
      return %a, %b
    }""")
    product, first, second = text.split("\n\n")
    reason = "reading %p: %p f32[64,32] is not of the shape of the product, and is also read by kernel"
    assert f"kernel 1, {reason} 2" in product
    assert f"kernel 2, {reason} 1" in product
    assert "kernel 2, also reading %p: reading the same joins loops and reductions, not a contraction" in first
    assert "kernel 0, giving %p: %p f32[64,32] is not of the shape of the product" in second


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            """(%x: f32[64,8], %v: f32[8]) -> f32[64,8] {
              %a = exp %v : f32[8]
              %b = broadcast %a {shape = [64, 8], dims = [1]} : f32[64,8]
              %c = mul %x, %b : f32[64,8]
              return %c
            }""",
            "exp (f.py:2) would be computed 64 times",
        ),
        (
            """(%x: f32[64,4], %w: f32[4,4]) -> f32[64,4] {
              %a = exp %x : f32[64,4]
              %b = contract %a, %w {spec = "mk,nk->mn"} : f32[64,4]
              %c = max %b {axes = [1], keepdims = true} : f32[64,1]
              %k = broadcast %c {shape = [64, 4], dims = [0, 1]} : f32[64,4]
              %d = add %a, %k : f32[64,4]
              return %d
            }""",
            "kernel 2, reading %a: would make a cycle through kernel 1",
        ),
        (
            """(%i: i64[4]; state %w: i64[4]) -> i64[4] {
              %three = constant {value = 3, dtype = i64, shape = [4]} : i64[4]
              %d = add %i, %three : i64[4]
              %q = floor_div %i, %d : i64[4]
              %u = add %w, %q : i64[4]
              return %q ; update %w = %u
            }""",
            "floor_div (f.py:4) can fault, which must come before %w i64[4] is updated",
        ),
        (
            """(; state %w: f32[8,8]) -> () {
              %s = mul %w, %w : f32[8,8]
              %n = sum %s {axes = [1], keepdims = false} : f32[8]
              %r = rsqrt %n : f32[8]
              %b = broadcast %r {shape = [8, 8], dims = [0]} : f32[8,8]
              %u = mul %w, %b : f32[8,8]
              return ; update %w = %u
            }""",
            "kernel 1, reading %r: %w f32[8,8] could not be updated in place",
        ),
        (
            """(%x: f32[64,32], %w: f32[5,32]) -> f32[64,5] {
              %p = exp %x : f32[64,32]
              %a = contract %p, %w {spec = "mk,nk->mn"} : f32[64,5]
              return %a
            }""",
            "%p f32[64,32] costs too much to be computed while packing, perhaps several times",
        ),
        (
            """(%x: f32[64,64], %y: f32[64,64], %v: f32[64]) -> f32[64,64], f32[64,64] {
              %b = broadcast %v {shape = [64, 64], dims = [1]} : f32[64,64]
              %c = mul %x, %b : f32[64,64]
              %d = add %y, %b : f32[64,64]
              return %c, %d
            }""",
            "kernel 1, also reading %v: saves too little: 256 bytes of 33024 that the smaller one reads and writes",
        ),
    ],
)
def test_reason(body: str, reason: str) -> None:
    assert reason in explained(body)


def test_copies_are_kernels_too() -> None:
    text = explained("""(; state %a: f32[4], %b: f32[4]) -> () {
      return ; update %a = %b, %b = %a
    }""")
    assert "copies" in text
    assert "is a copy, a second place for one value" in text or "apart from" not in text


@pytest.mark.parametrize("seed", range(40))
def test_every_kernel_of_any_program_is_explained(seed: int) -> None:
    lowered = lower(random_graph(random.Random(seed)).graph)
    text = explain(lowered.graphs["optimized"], lowered.schedule)
    heads = [line for line in text.splitlines() if line.startswith("kernel ")]
    assert len(heads) == len(lowered.schedule.launches)
    assert "{}" not in text
