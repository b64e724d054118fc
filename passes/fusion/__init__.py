"""Fusion: from ops to few kernels.

`program` says what must be computed, `rules` which sets of ops one kernel can hold, `clusters` chooses them, `regions`
builds the kernels.
"""
