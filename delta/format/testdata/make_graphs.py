"""Makes the fixtures of delta/format/{onnx,tflite,tfbundle,ctranslate2}/testdata, as make.py does for the other packages, and with the same expect.json.

Run it with a venv that has the package's writer; onnx and tensorflow want different versions of protobuf, so two venvs:
  pip install onnx ml_dtypes                    make_graphs.py onnx npy
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

    # The same under the names that exporters give, with a constant and two tensors in the same bytes: a row for the data file.
    rows, room.rows = room.rows, []
    room.format = "onnx-data"
    inits = [nh.from_array(w, "w"), nh.from_array(c, "c")]
    m = h.make_model(h.make_graph([], "external", *io, inits))
    o.external_data_helper.convert_model_to_external_data(m, location="large.onnx_data", size_threshold=100, convert_attribute=False)
    if os.path.exists(room.path("large.onnx_data")):
        os.remove(room.path("large.onnx_data"))  # else it grows
    o.save(m, room.path("large.onnx"))
    m = o.load(room.path("large.onnx"), load_external_data=False)
    t = m.graph.initializer.add()
    t.CopyFrom(m.graph.initializer[0])
    t.name = "tied"
    open(room.path("large.onnx"), "wb").write(m.SerializeToString())
    room.add("large.onnx_data", [of("w", w), of("c", c)], tied=[of("tied", w)])
    with open(room.path("external.json"), "w") as f:
        json.dump(room.rows, f, separators=(",", ":"))
        f.write("\n")
    room.rows, room.format = rows, "onnx"
    room.add("large.onnx", [])

    # A shape that the data does not fit, and a type that is newer than the program: payloads all the same.
    inits = []
    raw("misfit", T.FLOAT, [3], RNG.bytes(8))
    raw("newer", 99, [3], RNG.bytes(7))
    save("misfit.onnx", h.make_graph([], "misfit", *io, inits))
    room.add("misfit.onnx", [("newer", "BYTES", [7], inits[1].raw_data)], bare=[("misfit", inits[0].raw_data)])
    room.close()


# ---- tflite


TFLITE = {0: "F32", 1: "F16", 2: "I32", 3: "U8", 4: "I64", 6: "BOOL", 7: "I16", 9: "I8", 10: "F64", 18: "BF16", 21: "F8_E4M3"}


def tflite():
    import flatbuffers
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as S

    tf.keras.utils.set_random_seed(7)
    room = Room("tflite")

    def row(file):
        data = open(room.path(file), "rb").read()
        m = S.ModelT.InitFromPackedBuf(data)
        named, tied, seen = [], [], {}
        for g in m.subgraphs:
            for t in g.tensors:
                b = m.buffers[t.buffer]
                v = bytes(b.data) if b.data is not None else data[b.offset:b.offset + b.size] if b.offset > 1 else b""
                if not v:
                    continue
                kind = TFLITE.get(t.type, "BYTES")
                r = (t.name.decode(), kind, [int(d) for d in t.shape] if t.shape is not None else [], v)
                if t.buffer not in seen:
                    named.append(r)
                elif r[:2] + (r[2],) not in seen[t.buffer]:
                    tied.append(r)
                seen.setdefault(t.buffer, []).append(r[:3])
        room.add(file, named, tied=tied)

    model = tf.keras.Sequential([
        tf.keras.Input((8, 8, 1)), tf.keras.layers.Conv2D(4, 3, activation="relu", name="conv"), tf.keras.layers.Flatten(), tf.keras.layers.Dense(10, name="dense")])

    def convert(file, setup=lambda c: None):
        c = tf.lite.TFLiteConverter.from_keras_model(model)
        setup(c)
        open(room.path(file), "wb").write(c.convert())
        row(file)

    convert("float.tflite")

    def half(c):
        c.optimizations, c.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]

    def full(c):
        c.optimizations = [tf.lite.Optimize.DEFAULT]
        c.representative_dataset = lambda: ([RNG.standard_normal((1, 8, 8, 1)).astype("f4")] for _ in range(3))

    convert("half.tflite", half)
    convert("int8.tflite", full)

    class Two(tf.Module):
        def __init__(self):
            self.w = tf.Variable(normal(8, 16))

        @tf.function(input_signature=[tf.TensorSpec([1, 8])])
        def a(self, x):
            return x @ self.w

        @tf.function(input_signature=[tf.TensorSpec([2, 8])])
        def b(self, x):
            return x @ self.w + 1

    two = Two()
    tf.saved_model.save(two, "/tmp/two", signatures={"a": two.a, "b": two.b})
    open(room.path("signatures.tflite"), "wb").write(tf.lite.TFLiteConverter.from_saved_model("/tmp/two").convert())
    row("signatures.tflite")

    # By the schema's own code: every type, data behind the flatbuffer, two tensors of one buffer, packed and sparse ones, metadata.
    m = S.ModelT()
    m.version, m.description, m.operatorCodes, m.metadata = 3, "kinds", [], []
    m.buffers = [S.BufferT()]
    g = S.SubGraphT()
    g.tensors, g.inputs, g.outputs, g.operators, g.name = [], [], [], [], "main"
    m.subgraphs = [g]
    named, tied, bare = [], [], []

    def tensor(name, typ, shape, buffer):
        t = S.TensorT()
        t.name, t.type, t.shape, t.buffer = name, typ, shape, buffer
        g.tensors.append(t)
        return t

    def buffer(data):
        b = S.BufferT()
        b.data = np.frombuffer(data, np.uint8)
        m.buffers.append(b)
        return len(m.buffers) - 1

    widths = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2, 21: 1, 22: 1}
    names = {**TFLITE, 8: "C64", 11: "C128", 12: "U64", 15: "U32", 16: "U16", 22: "F8_E5M2"}
    for typ, w in widths.items():
        v = RNG.bytes(3 * w)
        tensor(f"type{typ}", typ, [3, 1], buffer(v))
        named.append((f"type{typ}", names[typ], [3, 1], v))
    for typ, n in ((17, 3), (19, 2), (20, 3)):  # 4, 2 and 4 bits
        v = RNG.bytes(n)
        tensor(f"type{typ}", typ, [5], buffer(v))
        named.append((f"type{typ}", "BYTES", [5], v))
    v = normal(2, 3).tobytes()
    b = buffer(v)
    tensor("tied", 0, [2, 3], b)
    tensor("tied.flat", 0, [6], b)
    tensor("tied", 0, [2, 3], b)
    named.append(("tied", "F32", [2, 3], v))
    tied.append(("tied.flat", "F32", [6], v))
    v = struct.pack("<iii", 1, 12, 14) + b"ab"
    tensor("text", 5, [1], buffer(v))
    bare.append(("text", v))
    tensor("no data", 0, [1, 4], 0)
    tensor("scalar", 0, None, buffer(b"\0\0\x80?"))
    named.append(("scalar", "F32", [], b"\0\0\x80?"))
    md = S.MetadataT()
    md.name, md.buffer = "min_runtime_version", buffer(b"1.5.0" + bytes(11))
    m.metadata.append(md)

    def pack(file):
        fb = flatbuffers.Builder(1024)
        fb.Finish(m.Pack(fb), file_identifier=b"TFL3")
        return bytes(fb.Output())

    open(room.path("kinds.tflite"), "wb").write(pack("kinds"))
    room.add("kinds.tflite", named, tied=tied, bare=bare)

    m.buffers, g.tensors, m.metadata = [S.BufferT()], [], []
    data = {"big.0": normal(4, 4), "big.1": normal(3).astype("f2")}
    for i, (name, a) in enumerate(data.items()):
        b = S.BufferT()
        b.offset, b.size = 1 << 40, a.nbytes
        m.buffers.append(b)
        tensor(name, 0 if a.dtype == np.float32 else 1, list(a.shape), i + 1)
    at = (len(pack("")) + 63) // 64 * 64
    blob = b""
    for b, a in zip(m.buffers[1:], data.values()):
        b.offset = at + len(blob)
        blob += a.tobytes()
    head = pack("")
    open(room.path("behind.tflite"), "wb").write(head + bytes(at - len(head)) + blob)
    room.add("behind.tflite", [of(n, a) for n, a in data.items()])
    room.close()


# ---- TensorFlow bundles


def tfbundle():
    import tensorflow as tf

    tf.keras.utils.set_random_seed(7)
    room = Room("tfbundle")
    room.format = "tf-bundle"
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"

    def text(data, value):  # of a tensor that is one string: varint length, CRC, contents
        at = data.index(value)
        n = 1 if len(value) < 128 else 2
        return data[at - 4 - n:at + len(value)]

    def rows(prefix, skip=()):
        files = sorted(f for f in os.listdir(room.dir) if f.startswith(prefix + ".data-"))
        contents = {f: open(room.path(f), "rb").read() for f in files}
        reader = tf.train.load_checkpoint(room.path(prefix))
        where = {f: ([], []) for f in files}
        for name in reader.get_variable_to_shape_map():
            if name in skip:
                continue
            a = reader.get_tensor(name)
            short = name.removesuffix(suffix)
            if isinstance(a, bytes):
                (f, cut), = [(f, text(d, a)) for f, d in contents.items() if a in d]
                where[f][1].append((short, cut))
            else:
                f, = [f for f, d in contents.items() if a.tobytes() in d] or files
                where[f][0].append(of(short, a))
        return files, where

    def add(prefix, skip=(), more={}):
        files, where = rows(prefix, skip)
        for f in files:
            named, bare = where[f]
            room.add(f, named + more.get(f, []), bare=bare)

    # A training checkpoint with a Keras model and Adam's moments, as tf.train.Checkpoint writes it.
    model = tf.keras.Sequential([tf.keras.Input((5,)), tf.keras.layers.Dense(7, name="one"), tf.keras.layers.Dense(3, name="two")])
    model.compile("adam", "mse")
    model.fit(normal(8, 5), normal(8, 3), verbose=0)
    tf.train.Checkpoint(model=model).write(room.path("adam"))
    add("adam")

    # Every dtype, 0-d and empty.
    kinds = {n: np.frombuffer(RNG.bytes(12 * np.dtype(n).itemsize), n).reshape(3, 4) for n in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")}
    kinds |= {"bool": np.array([True, False, True]), "complex64": (normal(3) + 1j).astype("c8"), "complex128": normal(3) + 1j * np.ones(3), "scalar": np.float32(2.5)}
    variables = {n: tf.Variable(a) for n, a in kinds.items()}
    variables["bfloat16"] = tf.Variable(tf.cast(normal(9), tf.bfloat16))
    tf.train.Checkpoint(**variables).write(room.path("kinds"))
    add("kinds")

    # TensorFlow 1: a variable in two parts, and a large table so that keys share prefixes over several blocks.
    with tf.Graph().as_default(), tf.compat.v1.Session() as s:
        w = normal(4, 6)
        tf.compat.v1.get_variable("scope/parted", initializer=tf.constant(w), partitioner=tf.compat.v1.fixed_size_partitioner(2))
        for i in range(60):
            tf.compat.v1.get_variable(f"scope/layer_with_a_long_name/{i:03}/bias", initializer=tf.constant(normal(3)))
        s.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(s, room.path("parts"), write_meta_graph=False)
    parts = [("scope/parted#0102" + "".join(f"{0x80 + n:02x}" for n in (2 * i, 2, 0, 6)), "F32", (2, 6), w[2 * i:2 * i + 2].tobytes()) for i in (0, 1)]
    add("parts", skip=["scope/parted"], more={"parts.data-00000-of-00001": parts})

    # Two shards, as the checkpoints of two devices or workers are merged.
    from tensorflow.python.ops import gen_io_ops
    for i, names in enumerate((["a", "b"], ["c"])):
        gen_io_ops.save_v2(room.path(f"worker{i}"), names, [""] * len(names), [tf.constant(normal(4, 2)) for _ in names])
    gen_io_ops.merge_v2_checkpoints([room.path("worker0"), room.path("worker1")], room.path("shards"), delete_old_dirs=False)
    add("shards")
    for f in os.listdir(room.dir):
        if f == "checkpoint":
            os.remove(room.path(f))
    room.close()


# ---- npy


def npy():
    """Adds arrays of ml_dtypes to what make.py made."""
    import ml_dtypes

    room = Room("npy")
    room.rows = [r for r in json.load(open(room.path("expect.json"))) if not r["file"].startswith("ml-")]
    for name in ("bfloat16", "float8_e5m2", "float8_e4m3fn"):
        a = normal(3, 4).astype(getattr(ml_dtypes, name))
        np.save(room.path(f"ml-{name}.npy"), a)
        room.add(f"ml-{name}.npy", [of("array", a, "BYTES" if name == "float8_e4m3fn" else None)])
    room.close()


# ---- ctranslate2


def ctranslate2():
    from ctranslate2.specs import model_spec, transformer_spec as ts

    room = Room("ctranslate2")

    class Tiny(model_spec.ModelSpec):  # what a model is to the writer: named variables and aliases
        def __init__(self, arrays, aliases):
            self.arrays, self.links = arrays, aliases

        name = "TinySpec"
        revision = 3

        def variables(self, prefix="", ordered=False):
            yield from self.arrays
            yield from self.links

    def variable(a):
        return model_spec.NumpyVariable(np.asarray(a)) if isinstance(a, (np.ndarray, np.generic)) else model_spec.PyTorchVariable(a)

    def rows(variables):
        by, named, tied = {}, [], []
        kinds = ["F32", "I8", "I16", "I32", "F16", "BF16"]
        for name, v in variables:
            if isinstance(v, str):
                tied.append((name, *by[v][1:]))
            else:
                by[name] = (name, kinds[model_spec._dtype_to_type_id(v.dtype)], list(v.shape), bytes(v.to_bytes()))
                named.append(by[name])
        return named, tied

    # A decoder as its converters write it, in 32 bits and quantised, with the aliases that the writer makes of equal weights.
    for file, quantization in (("decoder.bin", None), ("int8.bin", "int8"), ("half.bin", "float16")):
        spec = ts.TransformerDecoderModelSpec.from_config(1, 2)
        seen = {}

        def fill(part, path):
            for key, value in list(part.__dict__.items()):
                if isinstance(value, model_spec.LayerSpec):
                    fill(value, path + key)
                elif isinstance(value, list):
                    for i, x in enumerate(value):
                        fill(x, f"{path}{key}{i}")
                elif value is None:
                    setattr(part, key, normal(8) if "norm" in path or key == "bias" else normal(8, 8))

        fill(spec.decoder, "")
        spec.decoder.projection.weight = spec.decoder.embeddings.weight
        spec.register_vocabulary([f"t{i}" for i in range(8)])
        spec.validate()
        spec.optimize(quantization=quantization)
        spec._serialize(room.path(file))
        room.add(file, *rows(spec.variables(ordered=True)))

    arrays = [("f32", variable(normal(3, 5))), ("i8", variable(RNG.integers(-9, 9, (4, 4), "i1"))), ("i16", variable(RNG.integers(-9, 9, 6, "i2"))),
              ("scalar", variable(np.int32(7))), ("empty", variable(normal(0, 4))), ("f16", variable(normal(7, dtype="f2")))]
    tiny = Tiny(arrays, [("also", "f32"), ("again", "f32"), ("other", "i8")])
    tiny._serialize(room.path("tiny.bin"))
    room.add("tiny.bin", *rows(tiny.variables()))

    # Versions 2 and 3, which no writer that is still around makes, by the reader in model.cc.
    def text(s):
        return struct.pack("<H", len(s) + 1) + s.encode() + b"\0"

    for version in (2, 3):
        file, arrays = f"version{version}.bin", [("w", normal(3, 4), "F32"), ("q", RNG.integers(-9, 9, (2, 2), "i1"), "I8"), ("s", RNG.integers(-9, 9, 3, "i2"), "I16")]
        with open(room.path(file), "wb") as f:
            f.write(struct.pack("<I", version) + text("TransformerBase") + struct.pack("<II", 1, len(arrays)))
            for name, a, _ in arrays:
                f.write(text(name) + struct.pack(f"<B{a.ndim}I", a.ndim, *a.shape) + struct.pack("<BI", a.itemsize, a.size) + a.tobytes())
            if version == 3:
                f.write(struct.pack("<I", 1) + text("tied") + text("w"))
        room.add(file, [of(n, a) for n, a, _ in arrays], tied=[of("tied", arrays[0][1])] if version == 3 else [])
    room.close()


if __name__ == "__main__":
    for make in (onnx, npy, tflite, tfbundle, ctranslate2):
        if len(sys.argv) < 2 or make.__name__ in sys.argv[1:]:
            make()
