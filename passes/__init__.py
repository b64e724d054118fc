"""Passes: graph to graph, from the traced program to scheduled kernels.

`pipeline` holds their order, `pass_manager` runs them, `rewriter` is how they rebuild a graph, and `algebra` holds the
rules of `canonicalize`.
"""
