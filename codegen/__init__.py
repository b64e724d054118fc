"""Code generation: from a schedule to machine code.

- The way through: `compile`, which has `kernels` emit each launch, `spmd` share the work out, `driver` call it all, and
  `llvm` compile it for a target (`host`); `kernel_cache`, `compile_times`.
- Writing a kernel: `source`, `expression`, `index`, `scalar_text`; what comes out is a `kernel`.
- The kernel language: `language` lists it and `plain` defines it. As LLVM: `primitives`, `conversions`,
  `integer_division`, `reductions`, `philox`, `vector_math`, and for contractions `microkernel` and `dot_kernel`, with
  `llvm_values` and `vector_code` to write them with.
- Compiling it: `frontend` infers types by what `kernel_functions`, `intrinsics` and `python_constructs` say, `lowering`
  makes LLVM IR; `half_helpers` for old processors.
- Exported libraries: `c_api`, `c_header`, `shared_library`; debug builds: `red_zones`; `function_pointer`.
- Measuring: `autotune`, with `measure` and `cut_cache`; `ceilings` of the machine.
"""
