"""Makes the fixtures of delta/format/{onnx,tflite,tfbundle,ctranslate2}/testdata, as make.py does for the other packages, and with the same expect.json.

Run it with a venv that has the package's writer; onnx and tensorflow want different versions of protobuf, so two venvs:
  pip install onnx ml_dtypes                    make_graphs.py onnx
  pip install tensorflow-cpu ctranslate2        make_graphs.py tflite tfbundle ctranslate2
"""
import hashlib
import json
import os
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RNG = np.random.default_rng(7)
KINDS = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "bool": "BOOL", "complex64": "C64", "complex128": "C128",
}


def sha(b):
    return hashlib.sha256(b).hexdigest()


def normal(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


class Room:
    """The fixtures of one package."""

    def __init__(self, name):
        self.dir = os.path.join(HERE, name, "testdata")
        os.makedirs(self.dir, exist_ok=True)
        self.rows = []
        self.format = name

    def path(self, file):
        return os.path.join(self.dir, file)

    def add(self, file, named, tied=(), bare=()):
        """named: (name, kind, shape, bytes) that are tensors and payloads; tied: tensors in the payload of another; bare: (name, bytes) that are payloads only."""
        assert os.path.getsize(self.path(file)) < 20 << 10, (file, os.path.getsize(self.path(file)))
        row = lambda n, k, s, b: {"name": n, "dtype": k, "shape": list(s), "sha256": sha(b)}
        cut = lambda n, k, b: {"name": n, "dtype": k, "bytes": len(b), "sha256": sha(b)}
        self.rows.append({
            "file": file, "format": self.format, "tensors": [row(*t) for t in [*named, *tied]],
            "payloads": [cut(n, k, b) for n, k, _, b in named if b] + [cut(n, "BYTES", b) for n, b in bare],
        })

    def close(self):
        with open(self.path("expect.json"), "w") as f:
            f.write("[\n" + ",\n".join(json.dumps(r, separators=(",", ":"), ensure_ascii=False) for r in self.rows) + "\n]\n")


def of(name, a, kind=None):
    a = np.asarray(a)
    return name, kind or KINDS[a.dtype.name], a.shape, a.tobytes()


# ---- onnx


def onnx():
    import ml_dtypes
    import onnx as o
    from onnx import TensorProto as T, helper as h, numpy_helper as nh

    room = Room("onnx")

    def save(file, graph, **kw):
        o.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], **kw), room.path(file))

    io = ([h.make_tensor_value_info("x", T.FLOAT, [1, 4])], [h.make_tensor_value_info("y", T.FLOAT, None)])

    # An ordinary export: initializers, a Constant, names with slashes, metadata.
    w, b, c = normal(4, 8), normal(8), normal(8, 8)
    nodes = [
        h.make_node("MatMul", ["x", "encoder.weight"], ["h"], name="/encoder/MatMul"),
        h.make_node("Add", ["h", "encoder.bias"], ["g"], name="/encoder/Add"),
        h.make_node("Constant", [], ["/Constant_output_0"], name="/Constant", value=nh.from_array(c, "value")),
        h.make_node("MatMul", ["g", "/Constant_output_0"], ["y"]),
    ]
    graph = h.make_graph(nodes, "main", *io, [nh.from_array(w, "encoder.weight"), nh.from_array(b, "encoder.bias")])
    m = h.make_model(graph, producer_name="pytorch", opset_imports=[h.make_opsetid("", 18)])
    m.metadata_props.add(key="lang", value="ä")
    o.save(m, room.path("model.onnx"))
    room.add("model.onnx", [of("encoder.weight", w), of("encoder.bias", b), of("/Constant_output_0", c)])

    # Every element type, as raw data; 0-d and empty tensors.
    arrays = {n: np.zeros(3, n) for n in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")}
    arrays = {n: (RNG.bytes(3 * a.itemsize) if n != "bool" else b"\1\0\1", a.dtype) for n, a in arrays.items()}
    arrays = {n: np.frombuffer(v, d) for n, (v, d) in arrays.items()}
    arrays |= {"complex64": (normal(3) + 1j).astype("complex64"), "complex128": normal(3) + 1j * np.ones(3), "0d": np.float32(2.5), "0d64": np.int64(-3)}
    arrays |= {n: normal(3).astype(getattr(ml_dtypes, n)) for n in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}
    inits = [nh.from_array(np.asarray(a), n) for n, a in arrays.items()]
    named = [of(n, a) for n, a in arrays.items()]

    def raw(name, typ, dims, data):
        t = o.TensorProto(name=name, data_type=typ, raw_data=data)
        t.dims.extend(dims)
        inits.append(t)

    for name, typ, kind, data in [("u4", T.UINT4, "BYTES", 2), ("i4", T.INT4, "BYTES", 2), ("f4", T.FLOAT4E2M1, "F4", 2), ("e8m0", 24, "F8_E8M0", 3), ("fnuz", T.FLOAT8E4M3FNUZ, "U8", 3)]:
        v = RNG.bytes(data)
        raw(name, typ, [3], v)
        named.append((name, kind, [3], v))
    raw("empty", T.FLOAT, [0, 4], b"")
    named.append(("empty", "F32", [0, 4], b""))
    inits.append(h.make_tensor("empty.typed", T.INT32, [0], []))
    named.append(("empty.typed", "I32", [0], b""))
    save("kinds.onnx", h.make_graph([], "kinds", *io, inits))
    room.add("kinds.onnx", named)

    # Typed fields: floats are as in raw_data, integers are varints; text is none.
    a, d = normal(5), normal(2, 3, dtype="float64")
    z = (normal(3) + 1j).astype("complex64")
    inits = [
        h.make_tensor("float_data", T.FLOAT, [5], a.tolist()), h.make_tensor("double_data", T.DOUBLE, [2, 3], d.ravel().tolist()),
        h.make_tensor("complex", T.COMPLEX64, [3], z.tolist()), h.make_tensor("int64_data", T.INT64, [2], [1, -1]),
        h.make_tensor("half", T.FLOAT16, [2], [1.5, 2.5]), h.make_tensor("text", T.STRING, [2], [b"a", b"b"]),
    ]
    save("typed.onnx", h.make_graph([], "typed", *io, inits))
    room.add("typed.onnx", [of("float_data", a), of("double_data", d), of("complex", z)])

    # Graphs in attributes, sparse tensors, tensors in lists, functions, training.
    t, e, s, f, u = normal(2, 2), normal(3), normal(2), normal(6), normal(4)
    then = h.make_graph([h.make_node("Constant", [], ["tc"], value=nh.from_array(t))], "then", [], io[1], [nh.from_array(e, "weight")])
    deep = h.make_graph([h.make_node("If", ["c"], ["y"], then_branch=then, else_branch=then)], "else", [], io[1])
    sparse = h.make_sparse_tensor(nh.from_array(s, "sparse.weight"), nh.from_array(np.array([1, 3])), [6])
    nodes = [
        h.make_node("If", ["c"], ["y"], name="If_0", then_branch=then, else_branch=deep),
        h.make_node("Custom", ["x"], ["z"], domain="d", table=nh.from_array(u), tables=[nh.from_array(u), nh.from_array(t)], floats=[1.0, 2.0]),
        h.make_node("Constant", [], ["sc"], sparse_value=h.make_sparse_tensor(nh.from_array(s), nh.from_array(np.array([0, 2])), [4])),
    ]
    graph = h.make_graph(nodes, "main", *io, sparse_initializer=[sparse])
    fn = h.make_function("local", "Scale", ["a"], ["b"], [h.make_node("Constant", [], ["k"], value=nh.from_array(f))], [h.make_opsetid("", 18)])
    m = h.make_model(graph, functions=[fn], opset_imports=[h.make_opsetid("", 18), h.make_opsetid("d", 1), h.make_opsetid("local", 1)])
    m.training_info.add().initialization.CopyFrom(h.make_graph([], "init", [], [], [nh.from_array(e, "m")]))
    o.save(m, room.path("nested.onnx"))
    ix = np.array
    room.add("nested.onnx", [
        of("If_0.then_branch.tc", t), of("If_0.then_branch.weight", e),
        of("If_0.else_branch.y.then_branch.tc", t), of("If_0.else_branch.y.then_branch.weight", e),
        of("If_0.else_branch.y.else_branch.tc", t), of("If_0.else_branch.y.else_branch.weight", e),
        of("z.table", u), of("z.tables.0", u), of("z.tables.1", t),
        of("sc", s), of("sc.indices", ix([0, 2])), of("sparse.weight", s), of("sparse.weight.indices", ix([1, 3])),
        of("Scale.k", f), of("training.0.initialization.m", e),
    ])

    # External data: the tensors are elsewhere.
    m = h.make_model(h.make_graph([], "external", *io, [nh.from_array(w, "w"), nh.from_array(b, "b")]))
    o.external_data_helper.convert_model_to_external_data(m, location="external.data", size_threshold=100, convert_attribute=False)
    o.save(m, room.path("external.onnx"))
    os.remove(room.path("external.data"))
    room.add("external.onnx", [of("b", b)])

    # A shape that the data does not fit, and a type that is newer than the program: payloads all the same.
    inits = []
    raw("misfit", T.FLOAT, [3], RNG.bytes(8))
    raw("newer", 99, [3], RNG.bytes(7))
    save("misfit.onnx", h.make_graph([], "misfit", *io, inits))
    room.add("misfit.onnx", [("newer", "BYTES", [7], inits[1].raw_data)], bare=[("misfit", inits[0].raw_data)])
    room.close()


if __name__ == "__main__":
    for make in (onnx,):
        if len(sys.argv) < 2 or make.__name__ in sys.argv[1:]:
            make()
