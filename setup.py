from setuptools import find_packages, setup

FOLDERS = {"graphc": "graphc", **{f"graphc.{name}": name for name in ("ir", "passes", "codegen", "runtime")}}
setup(
    package_dir=FOLDERS,
    packages=[p + s for p, d in FOLDERS.items() for s in ("", *("." + n for n in find_packages(d)))],
)
