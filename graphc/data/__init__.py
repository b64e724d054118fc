"""Datasets and the loader that batches them."""

from graphc.data.collate import default_collate
from graphc.data.dataset import Dataset, Subset, TensorDataset, random_split
from graphc.data.digits import Digits
from graphc.data.idx import MNIST, DataFileError, FashionMNIST
from graphc.data.loader import DataLoader

__all__ = [
    "MNIST",
    "DataFileError",
    "DataLoader",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Subset",
    "TensorDataset",
    "default_collate",
    "random_split",
]
