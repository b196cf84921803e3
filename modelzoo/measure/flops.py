"""Floating-point operations of a forward pass, counted from the graph."""

import math

import keras
import tensorflow as tf


def forward_flops(model: keras.Model) -> int:
    """Floating-point operations that one example's forward pass spends in products.

    Convolutions, matrix products and einsums count 2 for each multiply-add, element-wise
    operations nothing. The body of a loop counts once. Dimensions that the model leaves open, the
    batch first of all, are taken as 1.
    """
    inputs = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec([size or 1 for size in tensor.shape], tensor.dtype),
        # Keras gives a Sequential one no `input` before its first call.
        model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
    )
    traced = tf.function(lambda tensors: model(tensors, training=False))
    graph = traced.get_concrete_function(inputs).graph.as_graph_def(add_shapes=True)
    functions = {function.signature.name: function for function in graph.library.function}
    return _count(graph.node, {}, functions)


def _count(nodes, arguments, functions) -> int:
    """Operations of `nodes`, a graph's or a function's whose argument shapes are `arguments`."""
    shapes = dict(arguments)
    for node in nodes:
        if "_output_shapes" in node.attr:
            shapes[node.name] = [_sizes(s) for s in node.attr["_output_shapes"].list.shape]
    total = 0
    for node in nodes:
        # "node" and "node:2" name outputs in a graph, "node:output:2" in a function.
        sources = [name.split(":") for name in node.input if not name.startswith("^")]
        operands = [
            _at(shapes.get(source[0], []), int(source[-1]) if len(source) > 1 else 0)
            for source in sources
        ]
        total += _of_node(node, operands, _at(shapes.get(node.name, []), 0))
        for value in node.attr.values():
            function = functions.get(value.func.name)
            if function is not None:
                names = [argument.name for argument in function.signature.input_arg]
                inner = {name: [operand] for name, operand in zip(names, operands, strict=False)}
                total += _count(function.node_def, inner, functions)
    return total


def _of_node(node, operands, output) -> int:
    """Operations of one node, given its operands' and its first output's shapes."""
    if node.op == "Conv2D":
        return 2 * math.prod(output) * math.prod(operands[1][:3])
    if node.op == "DepthwiseConv2dNative":
        return 2 * math.prod(output) * math.prod(operands[1][:2])
    if node.op == "MatMul":
        return 2 * math.prod(output) * operands[0][0 if node.attr["transpose_a"].b else 1]
    if node.op in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        return 2 * math.prod(output) * operands[0][-2 if node.attr["adj_x"].b else -1]
    if node.op == "Einsum":
        equation = node.attr["equation"].s.decode()
        return 2 * _einsum_size(equation, operands) if len(operands) == 2 else 0
    return 0


def _einsum_size(equation: str, operands) -> int:
    """Number of products in an einsum: the sizes of all its labels, "..." included."""
    sizes: dict[str, int] = {}
    for term, shape in zip(equation.split("->")[0].split(","), operands, strict=True):
        head, dots, tail = term.partition("...")
        for label, size in zip(head, shape, strict=False):
            sizes[label] = size
        for label, size in zip(reversed(tail), reversed(shape), strict=False):
            sizes[label] = size
        if dots:
            broadcast = shape[len(head) : len(shape) - len(tail)]
            for place, size in enumerate(reversed(broadcast)):
                sizes[f"...{place}"] = max(size, sizes.get(f"...{place}", 1))
    return math.prod(sizes.values())


def _sizes(shape) -> list[int]:
    # A nested function may have been traced for any batch size, which -1 stands for.
    return [1 if dim.size == -1 else dim.size for dim in shape.dim]


def _at(shapes, place):
    return shapes[place] if place < len(shapes) else []
