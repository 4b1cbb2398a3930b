#!/usr/bin/env python3
"""Makes small ONNX files that ask for much: sizes and loops which some bytes of a file can name. They
go to tests/golden/onnx_hostile, for tests/test_onnx_hostile_sizes.c and for the fuzzer to begin with.
needs onnx.

    python tools/make_onnx_hostile.py"""
from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

OUT = Path(__file__).resolve().parent.parent / "tests/golden/onnx_hostile"
N = helper.make_node
TYPES = {"f": T.FLOAT, "i": T.INT64}


def f32(x):
    return np.array(x, "f4")


def i64(x):
    return np.array(x, "i8")


def model(name, nodes, weights, inputs=(("x", "f", [1]),), opset=17):
    ports = [helper.make_tensor_value_info(k, TYPES[t], s) for k, t, s in inputs]
    graph = helper.make_graph(nodes, name, ports, [helper.make_tensor_value_info("y", T.FLOAT, None)],
                              [numpy_helper.from_array(v, k) for k, v in weights.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8,
                             producer_name="")
    (OUT / f"{name}.onnx").write_bytes(made.SerializeToString())


def sums():
    """Each node reads 2^24 numbers that are one, held once."""
    nodes = [N("Expand", ["one", "s"], ["e"])]
    nodes += [N("ReduceSum", ["e"], [f"r{i}"], keepdims=0) for i in range(50)]
    nodes += [N("Max", [f"r{i}" for i in range(50)], ["k"]), N("Add", ["x", "k"], ["y"])]
    model("sums", nodes, {"one": f32([1]), "s": i64([2**24])})


def nothing():
    """Many rows without an element, joined and picked."""
    weights = {"s": i64([2**40, 0]), "t": i64([2**31, 1]), "zero": i64([0])}
    model("join_nothing", [N("ConstantOfShape", ["s"], ["e"]), N("Concat", ["e", "e"], ["j"], axis=1),
                           N("ReduceSum", ["j"], ["k"], keepdims=0), N("Add", ["x", "k"], ["y"])], weights)
    model("pick_nothing", [N("ConstantOfShape", ["s"], ["e"]), N("Gather", ["e", "i"], ["j"], axis=1),
                           N("ReduceSum", ["j"], ["k"], keepdims=0), N("Add", ["x", "k"], ["y"])],
          {"s": i64([2**30, 2**20, 0]), "i": i64([0, 1])})
    model("pick_by_many", [N("Expand", ["zero", "t"], ["i"]), N("Gather", ["x", "i"], ["g"], axis=0),
                           N("ReduceSum", ["g"], ["y"], keepdims=0)], weights)


def sequences():
    """Attention with a mask of zeros for 2^30 sequences."""
    nodes = [N("Expand", ["x", "s"], ["q"]), N("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
             N("MatMul", ["q", "t"], ["s0"]), N("Add", ["s0", "mask"], ["a"]),
             N("Softmax", ["a"], ["p"]), N("MatMul", ["p", "q"], ["o"]),
             N("ReduceSum", ["o"], ["y"], keepdims=0)]
    weights = {"s": i64([2**30, 16, 1]), "mask": np.zeros((16, 16), "f4")}
    model("sequences", nodes, weights, (("x", "f", [1, 1, 1]),))


def cuts():
    """Rows of a tensor that no memory holds, each by a number of its own."""
    nodes = [N("Expand", ["x", "s"], ["e"])]
    nodes += [N("Slice", ["e", f"a{i}", f"b{i}", "one"], [f"s{i}"]) for i in range(4)]
    nodes += [N("Concat", [f"s{i}" for i in range(4)], ["c"], axis=1),
              N("ReduceSum", ["c"], ["y"], keepdims=0)]
    weights = {"s": i64([2**26, 8, 128]), "one": i64([1])}
    for i in range(4):
        weights |= {f"a{i}": i64([i]), f"b{i}": i64([i + 1])}
    model("cuts", nodes, weights, (("x", "f", [1, 1, 1]),))


def resized():
    nodes = [N("Resize", ["x", "", "", "z"], ["r"], mode="linear", coordinate_transformation_mode="half_pixel"),
             N("ReduceSum", ["r"], ["y"], keepdims=0)]
    model("resized", nodes, {"z": i64([1, 1, 1, 2**30])}, (("x", "f", [1, 1, 1, 64]),), 18)


def computed():
    nodes = [N("Expand", ["ids", "s"], ["e"]), N("Cast", ["e"], ["f"], to=T.FLOAT),
             N("Add", ["x", "f"], ["a"]), N("ReduceSum", ["a"], ["y"], keepdims=0)]
    model("computed", nodes, {"s": i64([2**34])}, (("x", "f", [1]), ("ids", "i", [1])))


def picked():
    """Rows by 2^22 numbers, again and again."""
    nodes = [N("Range", ["zero", "n", "one"], ["i"]), N("Expand", ["x", "s"], ["e"])]
    nodes += [N("Gather", ["e", "i"], [f"g{i}"], axis=0) for i in range(60)]
    nodes += [N("Concat", [f"g{i}" for i in range(60)], ["c"], axis=0),
              N("ReduceSum", ["c"], ["y"], keepdims=0)]
    model("picked", nodes, {"zero": i64(0), "n": i64(2**22), "one": i64(1), "s": i64([2**23])})


def parts(view, shape):
    """The axis of a shape that each halving is of."""
    axes, left, axis = [], list(shape), 0
    for _ in view:
        while left[axis] == 1:
            axis += 1
        left[axis] //= 2
        axes.append(axis)
    return axes


def atoms():
    """2^16 elements, moved until no half of them lies beside another, times a matrix: its rows would
    be of one axis more."""
    rng = np.random.default_rng(2)
    order, nodes, weights, last = list(range(16)), [], {}, "x"
    while True:
        i, rank = len(weights), int(rng.integers(3, 6))
        bits = sorted(rng.choice(np.arange(1, 16), rank - 1, replace=False))
        shape = [2 ** int(b - a) for a, b in zip([0, *bits], [*bits, 16])]
        perm = [int(k) for k in rng.permutation(rank)]
        lies = [[o for o, axis in zip(order, parts(order, shape)) if axis == k] for k in perm]
        weights[f"s{i}"] = i64(shape)
        nodes += [N("Reshape", [last, f"s{i}"], [f"v{i}"]), N("Transpose", [f"v{i}"], [f"t{i}"], perm=perm)]
        order, last = sum(lies, []), f"t{i}"
        if all(b != a + 1 for axis in lies for a, b in zip(axis, axis[1:])):
            break
    nodes += [N("Unsqueeze", [last, "last"], ["u"]), N("MatMul", ["u", "m"], ["y"])]
    model("atoms", nodes, weights | {"last": i64([rank]), "m": f32([[1, 2, 3]])}, (("x", "f", [2**16]),))


OUT.mkdir(exist_ok=True)
for f in (sums, nothing, sequences, cuts, resized, computed, picked, atoms):
    f()
