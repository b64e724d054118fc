from graphc.codegen.llvm_values import F32, element, libm


def _libm(name):
    return lambda b, *args: libm(b, name + ("f" if element(args[0].type) == F32 else ""), args)


MATH = {n: _libm(n) for n in ("exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "pow")}
