"""Tensors: memory, views, the class itself, and its exchange with Python and NumPy."""
