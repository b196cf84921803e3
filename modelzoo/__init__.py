"""modelzoo: Keras 3 models trained under tf.distribute with one device's results."""

import importlib

__version__ = "0.1.0"

# Name to its module, and to what in it the name is, if not the module itself.
_LAZY = {
    "curve": ("modelzoo.training.curve", "curve"),
    "configs": ("modelzoo.configs", None),
    "load": ("modelzoo.inference.predictor", "load"),
    "train": ("modelzoo.runs.train", "train"),
}


def __getattr__(name: str):
    # On first use, so that `import modelzoo` itself costs nothing.
    if name in _LAZY:
        module_name, attribute = _LAZY[name]
        if name != "configs":
            from modelzoo.fields.tf_import import import_tensorflow

            import_tensorflow()
        module = importlib.import_module(module_name)
        return getattr(module, attribute) if attribute else module
    raise AttributeError(f"module 'modelzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
