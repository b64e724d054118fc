"""What the parser says of malformed text, and where it points."""

from __future__ import annotations

import pickle

import pytest

from graphc.ir import Location, ParseError, parse

HEAD = "graph @f (%x: f32[2,3], %i: i64[2]; state %w: f32[3]) -> f32[2,3] {\n"


def error_of(text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(text, "f.gir")
    return caught.value


def pointed(error: ParseError) -> str:
    """What stands at the caret."""
    source, caret = str(error).splitlines()[1:]
    return source[caret.index("^") :]


BODIES = [
    # an op line; what stands at the caret; the message
    ("%0 = addd %x, %x : f32[2,3]", "addd", "unknown op 'addd'; did you mean 'add'?"),
    ("%0 = zzzz %x : f32[2,3]", "zzzz", "unknown op 'zzzz'"),
    ("%0 = add %x : f32[2,3]", "add %x", "add takes 2 operands, this one has 1"),
    ("%0 = neg %xx : f32[2,3]", "%xx", "undefined value '%xx'; did you mean '%x'?"),
    ("%0 = neg %0 : f32[2,3]", "%0 :", "undefined value '%0'"),
    ("%x = neg %x : f32[2,3]", "%x =", "'%x' is defined twice"),
    ("%0, %0 = neg %x : f32[2,3]", "neg", "neg has 1 results, 2 are named"),
    ("neg %x : f32[2,3]", "neg", "neg has 1 results, 0 are named"),
    ("%0 = neg %x", "return", "expected ':' and the types of the results, found 'return'"),
    ("%0 = neg %x : f32[2,3], f32[]", "neg", "neg has 1 results, 2 types are declared"),
    ("%0 = neg %x : f32[3,2]", "f32[3,2]", "neg gives f32[2,3] here, not f32[3,2]"),
    ("%0 = add %x, %w : f32[2,3]", "add", "add: shapes differ: f32[2,3] and f32[3]"),
    ("%0 = sum %x {axes = [1], axis = 1} : f32[2]", "axis", "sum has no attribute 'axis'; did you mean 'axes'?"),
    ("%0 = neg %x {zzz = 1} : f32[2]", "zzz", "neg has no attribute 'zzz'; it takes: none"),
    ("%0 = sum %x : f32[2]", "sum", "sum needs the attribute 'axes'"),
    ("%0 = sum %x {axes = 1} : f32[2]", "1}", "attribute 'axes' of sum must be a list of integers"),
    ("%0 = sum %x {axes = [1], axes = [0]} : f32[2]", "axes = [0]", "attribute 'axes' is given twice"),
    ("%0 = sum %x {axes = [2]} : f32[2]", "sum", "axis 2 is not an axis of f32[2,3]"),
    ("%0 = cast %x {dtype = f33} : f64[2,3]", "f33", "unknown element type 'f33'; did you mean 'f32'?"),
    ("%0 = cast %x {dtype = } : f64[2,3]", "}", "expected an attribute's value, found '}'"),
    ("%0 = cast %x {dtype : f64} : f64[2,3]", ": f64}", "expected '=', found ':'"),
    ("%0 = iota {axis = 9223372036854775808} : f32[]", "9223372036854775808", "this integer does not fit in 64 bits"),
    (f"%0 = iota {{axis = {'9' * 5000}}} : f32[]", "9999", "this integer does not fit in 64 bits"),
    ("%0 = constant {value = 1e999} : f32[]", "1e999", "this number does not fit in f64"),
    ("%0 = constant {value = -nan} : f32[]", "-nan", "unexpected character '-'"),
    ("%0 = neg %x : f32[2,-3]", "-3", "a size cannot be -3"),
    ("%0 = neg %x : f32", "return", "expected '[' and the sizes after f32"),
    (f"%0 = neg %x : f32[{','.join(['1'] * 33)}]", "f32[1", "a type has at most 32 axes, this one 33"),
    ("%0 = neg %x : f32[4611686018427387904,0,2]", "f32[46", "this type is larger than any address space"),
    ("%0 = neg %x (%a: f32[2,3]) { yield %a } : f32[2,3]", "(%a", "neg takes no region"),
    ('%0 = fused %x {kind = "loop"} : f32[2,3]', ":", "expected the region of fused"),
    ('%0 = fused %x {kind = "loop"} () { yield } : f32[2,3]', "fused", "a region takes one argument per operand"),
    (
        '%0 = fused %x {kind = "lop"} (%a: f32[]) { yield } : f32[]',
        '"lop"',
        "attribute 'kind' of fused must be one of 'loop', ",
    ),
    (
        '%0 = fused %x {kind = "loop"} (%a: f32[2,3]) { yield %x } : f32[2,3]',
        "%x }",
        "undefined value '%x'; a region sees its own arguments and values only",
    ),
    ("%0 = neg %x : f32[2,3] ; update %w = %w", "; update", "a '; update' clause stands on the return line"),
    ('%0 = constant {value = "a} : f32[]', '"a}', "this string has no end on its line"),
    ('%0 = constant {value = "\\q"} : f32[]', '"\\q"', "unknown escape \\q in a string"),
    ('%0 = constant {value = "\\UFFFFFFFF"} : f32[]', '"\\U', "\\UFFFFFFFF is not a character"),
    ("% = neg %x : f32[2,3]", "% =", "a name is missing after '%'"),
    ('%"a = neg %x : f32[2,3]', '"a', "this string has no end on its line"),
    ("%0 = neg %x ! f32[2,3]", "!", "unexpected character '!'"),
    ("[1]", "[1]", "expected an op or 'return', found '['"),
    ("%0 = constant {value = dense<f32[2], [1.0]>}", "]>", "expected ',' (f32[2] has 2 along axis 0, this list 1)"),
    ("%0 = constant {value = dense<f32[1], [1.0, 2.0]>}", ", 2.0", "expected ']' (f32[1] has 1 along axis 0)"),
    ("%0 = constant {value = dense<f32[2,0], [1.0]>}", "1.0", "expected ']', since f32[2,0] has no elements"),
    ("%0 = constant {value = dense<i8[], 128>}", "128", "128 does not fit in i8"),
    ("%0 = constant {value = dense<i8[], 1.0>}", "1.0", "'1.0' is not an element of type i8"),
    ("%0 = constant {value = dense<bool[], yes>}", "yes", "yes is not true or false"),
    ("%0 = constant {value = dense<f16[], 1e5>}", "1e5", "1e5 does not fit in f16"),
    ('%0 = constant {value = dense<f32[2], "00">}', '"00"', "f32[2] holds 8 bytes, not 1"),
    ('%0 = constant {value = dense<i8[2], "0g00">}', '"0g00"', "these bytes are not hexadecimal"),
    ('%0 = constant {value = dense<bool[1], "02">}', '"02"', "these bytes are no bool[1]"),
    ('%0 = constant {value = dense<f32[1000000000000], "00">}', '"00"', "f32[1000000000000] holds 4000000000000 bytes"),
    (f"%0 = sum %x {{axes = {'[' * 40}", "[" * 8, "lists nest deeper than 32"),
    (f"%0 = sum %x {{axes = [{'0,' * 1024}0]}}", "[0,0", "a list has at most 1024 items, this one 1025"),
]


@pytest.mark.parametrize(("line", "at", "message"), BODIES, ids=[f"{i}" for i in range(len(BODIES))])
def test_an_error_in_an_op_is_located(line: str, at: str, message: str) -> None:
    error = error_of(f"{HEAD}  {line}\n  return %x\n}}")
    assert message in error.message
    assert pointed(error).startswith(at)
    assert error.location is not None
    assert error.location.file == "f.gir"


WHOLE = [
    ("", "", "expected 'graph', found the end of the text"),
    ("graph f", "f", "expected the graph's name, such as @main, found 'f'"),
    ("graph @f [fast] () -> () { return }", "fast", "unknown stage 'fast'; stages are traced, "),
    ("graph @f (%x: f32[], %x: f32[]) -> ()", "%x: f32[])", "'%x' is defined twice"),
    ("graph @f (%x f32[])", "f32", "expected ':' and the argument's type, found 'f32'"),
    ("graph @f (; update %x)", "update", "expected 'state', found 'update'"),
    ("graph @f (%x: f32[]) -> f32[] { return }", "return", "0 values are returned, 1 declared"),
    ("graph @f (%x: f32[]) -> f64[] { return %x }", "%x }", "'%x' has type f32[], the graph declares f64[]"),
    ("graph @f (%x: f32[]) -> () { return ; update %x = %x }", "%x = ", "'%x' is not a state"),
    ("graph @f (; state %x: f32[]) -> () { return ; update %x = %x, %x = %x }", "%x = %x }", "'%x' is updated twice"),
    (
        "graph @f (%y: f64[]; state %x: f32[]) -> () { return ; update %x = %y }",
        "%y }",
        "'%x' has type f32[], its update '%y' f64[]",
    ),
    ("graph @f () -> () { return } x", "x", "expected the end of the text after one graph, found 'x'"),
    ("graph @f () -> () { return", "", "expected '}', found the end of the text"),
]


@pytest.mark.parametrize(("text", "at", "message"), WHOLE, ids=[f"{i}" for i in range(len(WHOLE))])
def test_an_error_in_a_graph_is_located(text: str, at: str, message: str) -> None:
    error = error_of(text)
    assert message in error.message
    assert pointed(error).startswith(at)


def test_an_error_shows_file_line_column_source_and_caret() -> None:
    error = error_of(f"{HEAD}\t%0 = rleu %x : f32[2,3]\n  return %0\n}}")
    assert str(error) == (
        "f.gir:2:7: unknown op 'rleu'; did you mean 'relu'?\n     %0 = rleu %x : f32[2,3]\n          ^"
    )
    assert (error.location, error.column) == (Location("f.gir", 2), 7)


def test_a_long_line_is_shown_around_the_caret() -> None:
    error = error_of("graph @f (" + "%x: f32[], " * 10_000)
    assert pointed(error).startswith("%x: f32[], %x")
    assert max(map(len, str(error).splitlines())) < 120


def test_an_error_survives_pickling() -> None:
    error = error_of("graph")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_deeply_nested_regions_are_refused() -> None:
    text = "graph @f (%x: f32[]) -> f32[] {" + ' %0 = fused %x {kind = "loop"} (%x: f32[]) {' * 2000
    assert error_of(text).message == "regions nest deeper than 16"
