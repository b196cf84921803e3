"""modelzoo: Keras 3 models trained under tf.distribute with one device's results."""

import importlib

__version__ = "0.1.0"

_LAZY = ("configs",)


def __getattr__(name: str):
    # On first use, so that `import modelzoo` itself costs nothing.
    if name in _LAZY:
        return importlib.import_module(f"modelzoo.{name}")
    raise AttributeError(f"module 'modelzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
