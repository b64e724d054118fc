from setuptools import find_packages, setup

FOLDERS = {"graphc.ir": "ir", "graphc.passes": "passes", "graphc.codegen": "codegen", "graphc.runtime": "runtime"}
SUBPACKAGES = [p + sub for p, folder in FOLDERS.items() for sub in ("", *("." + n for n in find_packages(folder)))]
OWN = ["graphc", *("graphc." + n for n in find_packages("graphc") if n.split(".")[0] not in FOLDERS.values())]
setup(package_dir={"graphc": "graphc", **FOLDERS}, packages=OWN + SUBPACKAGES)
