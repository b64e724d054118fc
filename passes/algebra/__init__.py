"""The rewrites of `canonicalize`, by what they are about. Importing this package fills the table."""

from graphc.passes.algebra import arithmetic, broadcasts, indexing, layouts, logic, reductions, splats
from graphc.passes.algebra.table import RULES, Rule

__all__ = ["RULES", "Rule", "arithmetic", "broadcasts", "indexing", "layouts", "logic", "reductions", "splats"]
