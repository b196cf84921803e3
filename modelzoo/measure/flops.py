"""Floating-point operations of a forward pass, counted from the graph."""

import math

import keras
import tensorflow as tf


def count_forward_flops(model: keras.Model) -> int:
    """Counts the floating-point operations of the products in one example's forward pass.

    Convolutions, matrix products and einsums count 2 for each multiply-add; element-wise operations
    do not count. The body of a loop counts once. Dynamic dimensions, such as the batch, count as 1.
    """
    inputs = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec([size or 1 for size in tensor.shape], tensor.dtype),
        # A Sequential model has no `input` before its first call.
        model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
    )
    traced = tf.function(lambda tensors: model(tensors, training=False))
    graph = traced.get_concrete_function(inputs).graph.as_graph_def(add_shapes=True)
    functions = {function.signature.name: function for function in graph.library.function}
    return _count_nodes(graph.node, {}, functions)


def _count_nodes(nodes, arguments, functions) -> int:
    """Counts the operations of the nodes of a graph, or of a function.

    `arguments` holds the shapes of the function's arguments.
    """
    shapes = dict(arguments)
    for node in nodes:
        if "_output_shapes" in node.attr:
            shapes[node.name] = [_sizes(s) for s in node.attr["_output_shapes"].list.shape]
    total = 0
    for node in nodes:
        # "node" and "node:2" name outputs in a graph, "node:output:2" in a function.
        sources = [name.split(":") for name in node.input if not name.startswith("^")]
        operands = [
            _shape_at(shapes.get(source[0], []), int(source[-1]) if len(source) > 1 else 0)
            for source in sources
        ]
        total += _count_node(node, operands, _shape_at(shapes.get(node.name, []), 0))
        for value in node.attr.values():
            function = functions.get(value.func.name)
            if function is not None:
                names = [argument.name for argument in function.signature.input_arg]
                inner = {name: [operand] for name, operand in zip(names, operands, strict=False)}
                total += _count_nodes(function.node_def, inner, functions)
    return total


def _count_node(node, operands, output) -> int:
    """Counts the operations of one node from the shapes of its operands and its first output."""
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
    """Returns the product of the sizes of all labels of an einsum, with those of "..."."""
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
    # -1 is the batch size of a nested function that was traced for any batch size.
    return [1 if dim.size == -1 else dim.size for dim in shape.dim]


def _shape_at(shapes, place):
    return shapes[place] if place < len(shapes) else []
