"""PyTorch's Transformer layers and ours with the same weights."""

import numpy as np
import torch

from modelzoo.models.layers.attention import Attention
from modelzoo.models.layers.transformer import Block


def randomise(variables, seed: int = 0, scale: float = 0.5) -> None:
    """Random values for all variables, biases, gains and offsets too."""
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign(rng.normal(0.0, scale, variable.shape))


def _set(parameter, array) -> None:
    parameter.data = torch.from_numpy(np.ascontiguousarray(array))


def copy_attention(ours: Attention, theirs: torch.nn.MultiheadAttention) -> None:
    """Gives theirs our weights."""
    if ours.cross:
        kernels = [ours.query_kernel, ours.key_value_kernel]
        biases = [ours.query_bias, ours.key_value_bias]
    else:
        kernels, biases = [ours.query_key_value_kernel], [ours.query_key_value_bias]
    _set(theirs.in_proj_weight, np.concatenate([k.numpy().T for k in kernels]))
    _set(theirs.out_proj.weight, ours.output_kernel.numpy().T)
    if ours.use_bias:
        _set(theirs.in_proj_bias, np.concatenate([b.numpy() for b in biases]))
        _set(theirs.out_proj.bias, ours.output_bias.numpy())


def copy_block(
    ours: Block, theirs: torch.nn.TransformerEncoderLayer | torch.nn.TransformerDecoderLayer
) -> None:
    """Gives theirs our weights."""
    copy_attention(ours.self_attention, theirs.self_attn)
    if ours.cross_attention is not None:
        copy_attention(ours.cross_attention, theirs.multihead_attn)
    for linear, part in ((theirs.linear1, "inner"), (theirs.linear2, "outer")):
        _set(linear.weight, getattr(ours.ffn, f"{part}_kernel").numpy().T)
        _set(linear.bias, getattr(ours.ffn, f"{part}_bias").numpy())
    for number, norm in enumerate(ours.norms, 1):
        _set(getattr(theirs, f"norm{number}").weight, norm.gamma.numpy())
        _set(getattr(theirs, f"norm{number}").bias, norm.beta.numpy())
