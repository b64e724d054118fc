"""Fusion: from ops to few kernels.

`program` says what must be computed; `rules` and `in_place` say which sets of ops one kernel can hold, and by a
`refusal`, why not. `clusters` chooses the kernels of the `partition`: by greedy merging, then by what is worth a
`recompute`, then by putting small loops `side_by_side`. `regions` builds them; `explain` tells what came together.
"""
