"""The IR as text: printing and parsing. Importing this package installs the printer as `str(graph)`."""

from graphc.ir.graph import print_with
from graphc.ir.text.names import value_names as value_names
from graphc.ir.text.parser import parse as parse
from graphc.ir.text.parser import parse_all as parse_all
from graphc.ir.text.printer import print_attribute as print_attribute
from graphc.ir.text.printer import print_graph as print_graph
from graphc.ir.text.printer import print_op as print_op

print_with(print_graph)
