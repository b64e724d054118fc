"""Running programs, and what outlives a run.

- A run: `program` (what it is), `loader`, `executor`, with `memory` and `outputs`; `pool` and `pool_ir` (its threads),
  `forks`.
- The cache on disk: `cache`, `cache_entry`, `cache_versions`, and `pool_object`, which is kept there.
- Files for users: `artifact` and `manifest` (exported programs), `checkpoint`.
- `messages`: what GRAPHC_LOG asks for.
"""
