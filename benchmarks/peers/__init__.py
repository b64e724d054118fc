"""One module per system: `make(workload, threads) -> (put, step)`.

`put(images, labels)` brings one batch of NumPy arrays into the system's own tensors, which is not timed. `step` trains
once on what `put` returned and yields the loss; `float(loss)` waits for the step to be over.
"""

MODULES = {"graphc": "graphc", "torch": "torch", "torch.compile": "torch_compile", "jax": "jax"}
