"""The precision that some values keep whatever the dtype policy."""


def at_least_float32(dtype: str) -> str:
    """Returns the dtype of inputs, logits and statistics: float32, or float64 for float64."""
    return "float64" if dtype == "float64" else "float32"
