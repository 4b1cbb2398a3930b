#!/usr/bin/env python3
"""Makes small ONNX files, each of one thing that importers get wrong, and what ONNX Runtime makes of
them: tests/golden/onnx_cases/NAME.onnx, and all inputs and results in cases.safetensors as NAME/in/x
and NAME/out/y. Files that are to be refused have no results. needs onnx, onnxruntime, safetensors.

    python tools/make_onnx_cases.py"""
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parent.parent / "tests/golden/onnx_cases"
N = helper.make_node
TYPES = {np.dtype("f4"): T.FLOAT, np.dtype("i8"): T.INT64, np.dtype("?"): T.BOOL}
NARROW = {"i32": T.INT32, "i8": T.INT8, "u8": T.UINT8}
rng = np.random.default_rng(0)
tensors = {}


def normal(*shape):
    return rng.standard_normal(shape).astype("f4")


def f32(x):
    return np.array(x, "f4")


def i64(x):
    return np.array(x, "i8")


EMB = normal(50, 8)


def case(name, nodes, feeds, weights, opset=17, dynamic=(), runs=True):
    """An input's dimensions are those of its array, or named where it is in `dynamic`."""
    inputs = [helper.make_tensor_value_info(
        k, TYPES[v.dtype], [f"{k}{i}" for i in range(v.ndim)] if k in dynamic else v.shape)
        for k, v in feeds.items()]
    graph = helper.make_graph(nodes, name, inputs, [helper.make_tensor_value_info("y", T.FLOAT, None)],
                              [numpy_helper.from_array(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8,
                              producer_name="")
    path = OUT / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    for k, v in feeds.items():
        tensors[f"{name}/in/{k}"] = v.astype("u1") if v.dtype == bool else v
    if runs:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        y, = onnxruntime.InferenceSession(str(path), options).run(["y"], feeds)
        tensors[f"{name}/out/y"] = np.ascontiguousarray(y)


def branch(name, nodes, out):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(out, T.INT64, None)])


def masks():
    ids = i64([[5, 7, 9, 0, 0], [3, 4, 0, 0, 0]])
    scores = [N("Gather", ["emb", "ids"], ["e"]), N("Transpose", ["e"], ["t"], perm=[0, 2, 1]),
              N("MatMul", ["e", "t"], ["s"])]
    ends = [N("Softmax", ["m"], ["p"], axis=-1), N("MatMul", ["p", "e"], ["y"])]
    weights = {"emb": EMB, "zero": i64(0), "one": i64(1), "ax": i64([1]), "low": f32(-1e30),
               "inf": f32(-np.inf), "half": f32(-1e4), "f1": f32(1)}

    def of(*names):
        return {k: weights[k] for k in ("emb", *names)}

    case("mask_equal", scores + [N("Equal", ["ids", "zero"], ["z"]), N("Unsqueeze", ["z", "ax"], ["u"]),
                                 N("Where", ["u", "low", "s"], ["m"])] + ends,
         {"ids": ids}, of("zero", "ax", "low"), dynamic=["ids"])
    # open_clip's: the ids that are not padding, as numbers that are added; padding is another id
    pad = np.where(ids == 0, 1, ids)
    case("mask_pad", scores + [N("Equal", ["ids", "one"], ["z"]), N("Not", ["z"], ["k"]),
                               N("Unsqueeze", ["k", "ax"], ["u"]),
                               N("Where", ["u", "fz", "inf"], ["a"]), N("Add", ["s", "a"], ["m"])] + ends,
         {"ids": pad}, of("one", "ax", "inf") | {"fz": f32(0)}, dynamic=["ids"])
    case("mask_above", scores + [N("Greater", ["ids", "zero"], ["k"]), N("Unsqueeze", ["k", "ax"], ["u"]),
                                 N("Where", ["u", "s", "low"], ["m"])] + ends,
         {"ids": ids}, of("zero", "ax", "low"), dynamic=["ids"])
    case("mask_softmax", scores[:2] + [N("Equal", ["ids", "zero"], ["z"]), N("Unsqueeze", ["z", "ax"], ["u"]),
                                       N("Where", ["u", "inf", "t"], ["s"]),
                                       N("Softmax", ["s"], ["y"], axis=-1)],
         {"ids": ids}, of("zero", "ax", "inf"), dynamic=["ids"])
    # not before a softmax: the file's own numbers stay
    case("where_ids", scores[:1] + [N("Equal", ["ids", "zero"], ["z"]), N("Unsqueeze", ["z", "two"], ["u"]),
                                    N("Where", ["u", "half", "e"], ["y"])],
         {"ids": ids}, of("zero", "half") | {"two": i64([2])}, dynamic=["ids"])
    case("where_low", [N("Where", ["c", "x", "k"], ["y"])], {"x": normal(1, 4)},
         {"c": np.array([[True, False, True, False]]), "k": f32(-2e4)})
    case("where_inf", [N("Where", ["c", "k", "x"], ["y"])], {"x": normal(1, 4)},
         {"c": np.array([[True, False, True, False]]), "k": f32(-np.inf)})
    case("add_low", [N("Sub", ["one", "k"], ["i"]), N("Cast", ["i"], ["f"], to=T.FLOAT),
                     N("Mul", ["f", "half"], ["a"]), N("Unsqueeze", ["a", "ax"], ["u"]),
                     N("Add", ["x", "u"], ["y"])],
         {"x": normal(1, 2, 3), "k": i64([[1, 0, 1]])},
         {k: weights[k] for k in ("one", "half", "ax")}, dynamic=["x", "k"])
    # a mask of values beside 0 and 1, which the file multiplies with
    case("add_scaled", scores + [N("Cast", ["k"], ["f"], to=T.FLOAT), N("Sub", ["f", "f1"], ["g"]),
                                 N("Mul", ["g", "two"], ["a"]), N("Unsqueeze", ["a", "ax"], ["u"]),
                                 N("Add", ["s", "u"], ["m"])] + ends,
         {"ids": ids, "k": i64([[1, 1, 0, 2, 1], [0, 1, 1, 1, 0]])},
         of("f1", "ax") | {"two": f32(2)}, dynamic=["ids", "k"])


def attention():
    batch, heads, tokens, d = 2, 2, 4, 8
    width = heads * d
    nodes = []
    for c in "qkv":
        nodes += [N("MatMul", ["x", f"w{c}"], [f"{c}0"]), N("Reshape", [f"{c}0", "split"], [f"{c}1"]),
                  N("Transpose", [f"{c}1"], [c], perm=[0, 2, 3, 1] if c == "k" else [0, 2, 1, 3])]
    nodes += [N("MatMul", ["q", "k"], ["s0"]), N("Add", ["s0", "mask"], ["s1"]),
              N("Mul", ["s1", "after"], ["s2"]), N("Softmax", ["s2"], ["p"], axis=-1),
              N("MatMul", ["p", "v"], ["o0"]), N("Transpose", ["o0"], ["o1"], perm=[0, 2, 1, 3]),
              N("Reshape", ["o1", "join"], ["y"])]
    weights = {f"w{c}": normal(width, width) * f32(0.3) for c in "qkv"}
    weights |= {"split": i64([batch, tokens, heads, d]), "join": i64([batch, tokens, width]),
                "mask": (np.triu(np.ones((tokens, tokens)), 1) * -1e4).astype("f4"), "after": f32(1e-3)}
    case("mask_factor", nodes, {"x": normal(batch, tokens, width)}, weights)


def integers():
    ids = i64([[1, 2, 3]])
    both = {"then_branch": branch("a", [N("Add", ["ids", "one"], ["p"])], "p"),
            "else_branch": branch("b", [N("Sub", ["ids", "one"], ["m"])], "m")}
    case("branch_integers", [N("If", ["cond"], ["k"], **both), N("Mul", ["k", "one"], ["l"]),
                             N("Cast", ["l"], ["f"], to=T.FLOAT), N("Mul", ["f", "f"], ["y"])],
         {"ids": ids}, {"one": i64(1), "cond": np.array(True)}, dynamic=["ids"])
    case("gather_computed", [N("Add", ["ids", "one"], ["k"]), N("Gather", ["emb", "k"], ["y"])],
         {"ids": ids}, {"emb": EMB, "one": i64(1)}, dynamic=["ids"])
    case("gather_positions", [N("CumSum", ["k", "one"], ["c"]), N("Mul", ["c", "k"], ["i"]),
                              N("Gather", ["emb", "i"], ["y"])],
         {"k": i64([[1, 1, 0, 1]])}, {"emb": EMB[:9], "one": i64(1)}, dynamic=["k"])
    case("cast_bool", [N("Cast", ["i"], ["b"], to=T.BOOL), N("Cast", ["b"], ["y"], to=T.FLOAT)],
         {"i": i64([[[0, 1, 2], [3, 0, 5]]])}, {})
    case("mod_fmod", [N("Mod", ["i", "two"], ["m"], fmod=1), N("Cast", ["m"], ["y"], to=T.FLOAT)],
         {"i": i64([[0, -1, 2], [3, 0, -5]])}, {"two": i64(2)})


def narrow():
    """Whole numbers, and floats, as narrower whole numbers, and back; sums that overflow."""
    whole = i64([0, 1, -1, 127, 128, 129, 255, 256, 257, -128, -129, 300, -300, 2**31 - 1, 2**31,
                 2**31 + 5, 2**32 + 7, -2**31 - 1, 2**40 + 3])
    floats = f32([0.9, -0.9, 127.9, 128, -128.9, -129, 200.7, 255.9, 256, 257.5, -1.5, 300, -300,
                  65541, 3e9, -3e9, np.inf, -np.inf, np.nan])
    rows = []
    nodes = [N("Add", ["w", "k"], ["i"]), N("Cast", ["i"], ["same"], to=T.INT32),
             N("Add", ["same", "same"], ["twice"])]
    for name, to in NARROW.items():
        for source in "i", "c":
            row = f"{source}_{name}"
            nodes += [N("Cast", [source], [row], to=to), N("Cast", [row], [f"{row}_y"], to=T.FLOAT)]
            rows.append(f"{row}_y")
    nodes += [N("Cast", ["c"], ["c_i64"], to=T.INT64), N("Cast", ["c_i64"], ["c_i64_y"], to=T.FLOAT),
              N("Cast", ["twice"], ["twice_y"], to=T.FLOAT)]
    rows += ["c_i64_y", "twice_y"]
    case("cast_narrow", nodes + [N("Concat", rows, ["y"], axis=0)], {"k": i64([0])},
         {"w": whole, "c": floats})


def numbers():
    x = normal(2, 3)
    case("max_rank", [N("Max", ["x", "c"], ["y"])], {"x": x}, {"c": np.zeros((1, 1, 1), "f4")})
    case("pow_rank", [N("Pow", ["x", "c"], ["y"])], {"x": x}, {"c": np.full((1, 1, 1), 2, "f4")})
    case("norm_held", [N("ReduceL2", ["x"], ["n"], axes=[-1]), N("Clip", ["n", "low"], ["c"]),
                       N("Div", ["x", "c"], ["y"])], {"x": x * f32(1e-7)}, {"low": f32(1e-6)})
    case("empty_results", [N("LayerNormalization", ["x", "g", "b"], ["y", "", ""])], {"x": x},
         {"g": np.ones(3, "f4"), "b": np.zeros(3, "f4")})
    case("slice_empty", [N("Slice", ["e", "s", "t", "a", "st"], ["z"]), N("Shape", ["z"], ["sh"]),
                         N("Cast", ["sh"], ["f"], to=T.FLOAT), N("ReduceSum", ["z"], ["r"], keepdims=0),
                         N("Add", ["f", "r"], ["g"]), N("ReduceSum", ["x"], ["q"], keepdims=0),
                         N("Add", ["g", "q"], ["y"])], {"x": x},
         {"e": np.zeros((0, 3), "f4"), "s": i64([-1]), "t": i64([-2**63]), "a": i64([0]),
          "st": i64([-1])})
    case("reversed", [N("Relu", [f"v{i}"], [f"v{i + 1}" if i < 19 else "y"])
                      for i in reversed(range(20))], {"v0": x}, {}, runs=False)
    tensors["reversed/out/y"] = np.maximum(x, 0)
    for mode in ("linear", "cubic"):
        for leaves_out in (0, 1):
            case(f"resize_{mode}_{leaves_out}",
                 [N("Resize", ["x", "", "", "z"], ["y"], mode=mode, antialias=1,
                    exclude_outside=leaves_out)],
                 {"x": normal(1, 1, 7, 9)}, {"z": i64([1, 1, 3, 12])}, opset=18)


def refused():
    x = normal(2, 3)
    case("refused_dropout", [N("Dropout", ["x", "r", "t"], ["y"])], {"x": x},
         {"r": f32(0.5), "t": np.array(True)}, runs=False)
    case("refused_own_maker", [N("Split", [""], ["", "v"]), N("Equal", ["v", "v"], ["q"]),
                               N("Cast", ["q"], ["c"], to=T.FLOAT), N("Add", ["c", "x"], ["y"])],
         {"x": x}, {}, runs=False)
    case("refused_axis_twice", [N("Slice", ["x", "s", "t", "a"], ["y"])], {"x": x},
         {"s": i64([0, 1]), "t": i64([2, 2]), "a": i64([0, 0])}, runs=False)
    for axis in (0, 1):
        case(f"refused_index_{axis}", [N("Gather", ["x", "i"], ["y"], axis=axis)], {"x": x},
             {"i": i64([2**63 - 1])}, runs=False)
    inner = helper.make_graph([N("Neg", ["x"], ["h"])], "b", [],
                              [helper.make_tensor_value_info("h", T.FLOAT, None)])
    case("refused_branch_name", [N("Relu", ["x"], ["h"]),
                                 N("If", ["c"], ["k"], then_branch=inner, else_branch=inner),
                                 N("Add", ["h", "k"], ["y"])], {"x": x}, {"c": np.array(True)}, runs=False)
    inner = helper.make_graph([N("Neg", ["nothing"], ["g"])], "b", [],
                              [helper.make_tensor_value_info("g", T.FLOAT, None)])
    case("refused_branch_input", [N("If", ["c"], ["k"], then_branch=inner, else_branch=inner),
                                  N("Add", ["x", "k"], ["y"])], {"x": x}, {"c": np.array(True)},
         runs=False)


def choices():
    """What is not chosen leaves no trace; what chooses is known, or an input, or follows from one."""
    c = np.array([[True, False, True, False], [False, False, True, True]])
    x = normal(2, 4)
    where = [N("Where", ["c", "x", "k"], ["y"])]
    case("choose_infinite", where, {"x": x}, {"c": c, "k": f32(np.inf)})
    case("choose_finite", where, {"x": np.where(c, x, f32(np.inf))}, {"c": c, "k": f32(0)})
    case("choose_log", [N("Log", ["x"], ["l"]), N("Where", ["c", "l", "k"], ["y"])],
         {"x": np.where(c, abs(x), f32(0))}, {"c": c, "k": f32(0)})
    case("choose_rank", where, {"x": x}, {"c": c, "k": np.full((1, 1, 1), -np.inf, "f4")})
    case("choose_given", where, {"x": np.where(c, x, f32(np.nan)), "c": c}, {"k": f32(-1)},
         dynamic=["x", "c"])
    case("choose_not", [N("Not", ["c"], ["n"]), N("Where", ["n", "k", "x"], ["y"])],
         {"x": np.where(c, x, f32(np.inf)), "c": c}, {"k": normal(1, 4)}, dynamic=["x", "c"])
    case("choose_of_ids", [N("Equal", ["ids", "zero"], ["z"]), N("Unsqueeze", ["z", "one"], ["u"]),
                           N("Where", ["u", "k", "x"], ["y"])],
         {"x": normal(2, 3, 4), "ids": i64([[0, 3, 0, 1], [2, 0, 0, 0]])},
         {"zero": i64(0), "one": i64([1]), "k": f32(np.inf)}, dynamic=["x", "ids"])
    case("choose_moved", [N("Transpose", ["x"], ["t"], perm=[1, 0]), N("Where", ["c", "k", "t"], ["y"])],
         {"x": normal(4, 2)}, {"c": c, "k": f32(np.inf)})
    case("bool_number", [N("Cast", ["c"], ["f"], to=T.FLOAT), N("Mul", ["x", "f"], ["y"])], {"x": x, "c": c},
         {}, dynamic=["x", "c"])


def exact():
    """Sizes, fractions and numbers from the end as others have them."""
    for scale in 0.9, 0.7, 0.6:
        case(f"resize_by_{scale}", [N("Resize", ["x", "", "s"], ["y"], mode="linear",
                                      coordinate_transformation_mode="half_pixel")],
             {"x": normal(1, 1, 10, 10)}, {"s": f32([1, 1, scale, scale])}, opset=18)
    case("fractions", [N("Pow", ["k", "e"], ["p"]), N("ReduceMean", ["k"], ["m"], keepdims=1),
                       N("Concat", ["p", "m"], ["j"], axis=0), N("Cast", ["j"], ["y"], to=T.FLOAT)],
         {"k": i64([7, 2, -3, 1])}, {"e": i64([-2])}, dynamic=["k"])
    case("slice_far", [N("Slice", ["k", "s", "t", "a", "st"], ["p"]), N("Add", ["x", "p"], ["y"])],
         {"x": normal(1)}, {"k": f32(np.arange(8)), "s": i64([1]), "t": i64([7]), "a": i64([0]),
                            "st": i64([2**63 - 1])})
    case("gather_from_end", [N("Gather", ["emb", "ids"], ["y"])], {"ids": i64([[0, -1, 2], [-50, 4, 49]])},
         {"emb": EMB}, dynamic=["ids"])
    case("norm_of_rows", [N("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], {"x": normal(2, 3)},
         {k: abs(normal(3)) for k in "sbmv"})
    x = normal(1, 2, 5, 5)
    for name, attribute in {"strides": [0, 0], "dilations": [0, 0], "group": 0, "kernel_shape": [7, 7]}.items():
        case(f"refused_conv_{name}", [N("Conv", ["x", "w"], ["y"], **{name: attribute})], {"x": x},
             {"w": normal(3, 2, 3, 3)}, runs=False)
    case("refused_pad_axes", [N("Cast", ["ids"], ["a"], to=T.INT64), N("Pad", ["x", "p", "", "a"], ["y"])],
         {"x": normal(2, 3), "ids": i64([1])}, {"p": i64([1, 1])}, opset=18, dynamic=["ids"], runs=False)


def rules():
    """Masks and selections by rules that are nearly those of CLIP's files; ids as large as its own."""
    def of_used(name, nodes, feeds, weights, dynamic=()):
        read = {k for n in nodes for k in n.input}
        case(name, nodes, feeds, {k: v for k, v in weights.items() if k in read}, dynamic=dynamic)

    ids = i64([[49406, 300, 41000, 49407, 0, 0], [49406, 7, 49407, 0, 0, 0]])
    ends = {"zero": i64(0), "end": i64(49407), "start": i64(49406), "forty": i64(40), "ax": i64([1]),
            "low": f32(-1e30), "fz": f32(0), "emb": EMB}
    begins = [N("Mod", ["ids", "forty"], ["k"]), N("Gather", ["emb", "k"], ["e"]),
              N("Transpose", ["e"], ["t"], perm=[0, 2, 1]), N("MatMul", ["e", "t"], ["s"])]

    def mask(name, rule, x=ids, more=(), low=-1e30):
        """Adds low where the rule's result `r` is false."""
        of_used(name, begins + rule + [
            N("Where", ["r", "fz", "low"], ["a"]), N("Unsqueeze", ["a", "ax"], ["u"]),
            N("Add", ["s", "u"], ["m"]), N("Softmax", ["m"], ["p"], axis=-1),
            N("MatMul", ["p", "e"], ["y"])], {"ids": x}, ends | {"low": f32(low)} | dict(more), dynamic=["ids"])

    between = [N("Greater", ["ids", "zero"], ["b"]), N("Less", ["ids", "start"], ["c"]),
               N("And", ["b", "c"], ["r"])]
    mask("mask_between", between)
    mask("mask_two", [N("Equal", ["ids", "zero"], ["b"]), N("Equal", ["ids", "end"], ["c"]),
                      N("Or", ["b", "c"], ["d"]), N("Not", ["d"], ["r"])])
    mask("mask_negative", [N("Greater", ["ids", "zero"], ["r"])], np.where(ids == 0, -1, ids))
    mask("mask_not_low", between, low=-1e4)
    # of each text no key is seen: all of them are, alike
    mask("mask_no_key", between, i64([[49406, 49407, 0, 0], [49407, 0, 0, 0]]))

    turn = ends | {"causal": np.tril(np.ones((1, 4, 4), bool))}
    for n, x in enumerate(([[5, 6, 7, 8], [5, 6, 0, 0]], [[0, 0, 0, 0], [5, 6, 7, 0]],
                           [[5, 0, 7, 0], [8, 8, 8, 8]], [[5, 6, 0, 0], [5, 0, 0, 0]])):
        of_used(f"in_turn_{n}", begins + [
            N("Equal", ["ids", "zero"], ["q"]), N("Not", ["q"], ["v"]), N("Unsqueeze", ["v", "ax"], ["u"]),
            N("And", ["u", "causal"], ["c"]), N("Where", ["c", "s", "low"], ["m"]),
            N("Softmax", ["m"], ["p"], axis=-1), N("MatMul", ["p", "e"], ["o"]),
            N("ArgMax", ["ids"], ["w"], axis=1, keepdims=0), N("Add", ["w", "first"], ["x"]),
            N("Reshape", ["o", "rows"], ["f"]), N("Gather", ["f", "x"], ["y"])],
            {"ids": i64(x)}, turn | {"first": i64([0, 4]), "rows": i64([8, 8])}, dynamic=["ids"])

    for n, x in enumerate(([[3, 7, 5]], [[2, 4, 1]])):  # as many rows as the largest id says
        case(f"length_{n}", [N("ReduceMax", ["ids"], ["n"], keepdims=0), N("Range", ["zero", "n", "one"], ["r"]),
                             N("Gather", ["emb", "r"], ["y"])],
             {"ids": i64(x)}, {"zero": i64(0), "one": i64(1), "emb": EMB[:9]})

    select = begins[:2] + [N("GatherND", ["e", "i"], ["y"], batch_dims=1)]
    of_used("end_bounded", select + [N("Min", ["ids", "most"], ["b"]),
                                  N("ArgMax", ["b"], ["i"], axis=1, keepdims=1)],
         {"ids": ids}, ends | {"most": i64(45000)}, dynamic=["ids"])
    two = i64([[1, 49407, 3, 2], [2, 1, 49407, 0]])
    of_used("end_of_two", select + [N("Equal", ["ids", "end"], ["b"]), N("Equal", ["ids", "two"], ["c"]),
                                 N("Or", ["b", "c"], ["d"]), N("Cast", ["d"], ["g"], to=T.INT32),
                                 N("ArgMax", ["g"], ["i"], axis=1, keepdims=1)],
         {"ids": two}, ends | {"two": i64(2)}, dynamic=["ids"])
    of_used("end_elements", begins[:2] + [N("Unsqueeze", ["w", "ax"], ["i"]),
                                       N("GatherElements", ["e", "i"], ["y"], axis=1)],
         {"ids": ids, "w": rng.integers(0, 6, (2, 8))}, ends, dynamic=["ids", "w"])

    # what an importer may take for a mask of ones and zeros, or for NaN where all is hidden
    x = normal(2, 4, 8)
    scores = [N("Transpose", ["x"], ["t"], perm=[0, 2, 1]), N("MatMul", ["x", "t"], ["s"])]
    after = [N("Softmax", ["m"], ["p"], axis=-1), N("MatMul", ["p", "x"], ["y"])]
    case("mask_float", scores + [N("Sub", ["k", "one"], ["a"]), N("Mul", ["a", "c"], ["b"]),
                                 N("Unsqueeze", ["b", "ax"], ["u"]), N("Add", ["s", "u"], ["m"])] + after,
         {"x": x, "k": f32([[1, 1, 0.9, 0.9], [0.5, 0.5, 0, 0]])},
         {"one": f32(1), "c": f32(1e9), "ax": i64([1])})
    seen = np.array([[True, True, False, False]] * 2 + [[True, False, True, True]] * 2)
    case("where_undone", scores + [N("Where", ["c", "s", "k"], ["w"]), N("Add", ["w", "b"], ["m"])] + after,
         {"x": x}, {"c": seen, "k": f32(-1e4), "b": np.where(seen, 0, 1e4).astype("f4")})
    case("where_no_key", scores + [N("Where", ["c", "s", "k"], ["m"])] + after, {"x": x},
         {"c": seen & (np.arange(4) > 0)[:, None], "k": f32(-1e9)})
    case("where_nan", [N("Log", ["x"], ["l"]), N("IsNaN", ["l"], ["n"]), N("Where", ["n", "k", "l"], ["y"])],
         {"x": x}, {"k": f32(7)})
    case("softmax_nan", scores + [N("Where", ["c", "s", "k"], ["m"]), N("Softmax", ["m"], ["p0"]),
                                  N("IsNaN", ["p0"], ["n"]), N("Where", ["n", "z", "p0"], ["p"]), after[1]],
         {"x": x}, {"c": seen & (np.arange(4) > 0)[:, None], "k": f32(-np.inf), "z": f32(0)})
    for row in ([1, 24], [6, 4], [12, 2]):
        case(f"softmax_{row[0]}_{row[1]}", [
            N("MatMul", ["q", "k"], ["s"]), N("Reshape", ["s", "to"], ["m"]), N("Softmax", ["m"], ["p"], axis=-1),
            N("Reshape", ["p", "back"], ["o"]), N("MatMul", ["o", "v"], ["y"])],
            {"q": normal(1, 2, 4, 8), "k": normal(1, 2, 8, 6), "v": normal(1, 2, 6, 8)},
            {"to": i64([1, 2, *row]), "back": i64([1, 2, 4, 6])})


OUT.mkdir(exist_ok=True)
for f in (masks, attention, integers, numbers, refused, narrow, choices, exact, rules):
    f()
save_file(tensors, OUT / "cases.safetensors")
