"""One module per system: `make_step(workload, threads) -> step`, where step(images, labels) trains once on NumPy
arrays and returns the loss as a float-like that `float()` waits for."""
