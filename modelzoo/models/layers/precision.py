"""Which precision is kept where the dtype policy asks for less."""


def at_least_float32(dtype: str) -> str:
    """The dtype of inputs, logits and statistics: float64 where `dtype` is, else float32."""
    return "float64" if dtype == "float64" else "float32"
