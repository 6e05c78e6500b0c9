"""Makes the fixtures of delta/format/hdf5 and delta/format/msgpack, as make.py those of the others.

It needs what make.py needs and h5py, keras, flax and jax, in a venv of their own:
    python3 -m venv V && V/bin/pip install h5py keras flax jax msgpack && V/bin/python delta/format/testdata/make_h5.py
with torch, safetensors and numpy on its path. Made with h5py 3.16 (HDF5 2.0), keras 3.15, flax 0.12 and msgpack 1.2.
"""
import os
import sys
import zipfile

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

from make import NUMPY, RNG, Room, sha

# ---- HDF5


def h5_kind(t):
    if t.kind == "b":
        return "BOOL"
    if t.byteorder == ">" and t.itemsize > 1 or t.names:
        return "BYTES"
    if t.name == "bfloat16":
        return "BF16"
    return NUMPY.get(t.kind + str(t.itemsize), "BYTES")


def h5_row(room, file, fmt="hdf5", at=0, size=None):
    """Adds a file as h5py sees it; payloads are what it says of where the chunks are."""
    import h5py
    data = open(room.path(file), "rb").read()[at:][:size]
    tmp = room.path("tmp.h5")
    open(tmp, "wb").write(data)
    tensors, payloads = [], []

    def payload(name, kind, off, n):
        payloads.append({"name": name, "dtype": kind, "bytes": n, "sha256": sha(data[off:off + n])})

    def visit(path, d):
        if not isinstance(d, h5py.Dataset) or d.is_virtual or d.external or d.dtype.kind == "O" or d.shape is None or d.dtype.kind == "S":
            return
        kind, whole = h5_kind(d.dtype), d[()].tobytes()
        if d.id.get_type().get_size() == 2 and d.dtype == "f4":  # read as float32
            kind, whole = "BF16", (d[()].view("u4") >> 16).astype("u2").tobytes()
        plist = d.id.get_create_plist()
        if not whole:
            tensors.append({"name": path, "dtype": kind, "shape": list(d.shape), "sha256": sha(b"")})
            return
        if d.chunks is None:
            off = d.id.get_offset()
            if off is None:
                if plist.get_layout() != h5py.h5d.COMPACT:
                    return
                assert data.count(whole) == 1, path
                off = data.index(whole)
            payload(path, kind, off, len(whole))
        else:
            if plist.get_nfilters() or "latest" in file and None in d.maxshape:  # an index that grows is not read
                return
            infos = [d.id.get_chunk_info(i) for i in range(d.id.get_num_chunks())]
            down = [-(-n // c) for n, c in zip(d.shape, d.chunks)]
            index = lambda i: int(np.ravel_multi_index([o // c for o, c in zip(i.chunk_offset, d.chunks)], down))
            infos.sort(key=index)
            run = all(i.byte_offset == infos[0].byte_offset + k * i.size for k, i in enumerate(infos))
            if not (run and len(infos) == np.prod(down) and d.chunks[1:] == d.shape[1:]):
                for i in infos:
                    payload(f"{path}[{index(i)}]", kind, i.byte_offset, i.size)
                return
            payload(path, kind, infos[0].byte_offset, len(whole))
        tensors.append({"name": path, "dtype": kind, "shape": list(d.shape), "sha256": sha(whole)})

    with h5py.File(tmp) as f:
        f.visititems(visit)
    os.remove(tmp)
    room.add(file, fmt, tensors, payloads)


def h5_kinds(f):
    import h5py
    import ml_dtypes
    for k in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"):
        f["kind/" + k] = RNG.integers(0, 100, 5).astype(k)
    f["kind/bool"] = np.array([True, False, True])
    f["kind/c8"] = (RNG.standard_normal(3) + 1j).astype("c8")
    f["kind/c16"] = RNG.standard_normal(3) + 1j
    f["kind/big"] = RNG.standard_normal(3).astype(">f4")
    f["kind/fields"] = np.zeros(3, [("x", "<f4"), ("y", "<i8")])
    f["kind/enum"] = np.array([1, 2, 1], h5py.enum_dtype({"a": 1, "b": 2}, basetype="i2"))
    f["kind/opaque"] = np.frombuffer(RNG.bytes(6), "V2")
    f["kind/text"] = "a text"
    f["kind/texts"] = np.array([b"ab", b"cde"])
    bf = h5py.h5t.IEEE_F32LE.copy()
    bf.set_fields(15, 7, 8, 0, 7)
    bf.set_size(2)
    bf.set_ebias(127)
    raw = np.array([1.5, -2, 3], ml_dtypes.bfloat16).view("u2")
    d = h5py.h5d.create(f["kind"].id, b"bf16", bf, h5py.h5s.create_simple((3,)))
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, raw, mtype=bf)
    f["zero"] = np.empty((0, 4), "f4")
    f["scalar"] = 2.5
    f["null"] = h5py.Empty("f4")


def h5_layouts(f):
    import h5py
    a = RNG.standard_normal((9, 6)).astype("f4")
    f.create_dataset("whole rows", data=a, chunks=(3, 6))
    f.create_dataset("tiles", data=a, chunks=(4, 4))
    f.create_dataset("grows", data=a, chunks=(3, 6), maxshape=(None, 6))
    f.create_dataset("deflated", data=a, chunks=(3, 6), compression="gzip")
    f.create_dataset("some", (9, 6), "f4", chunks=(3, 6))[3:6] = a[3:6]
    f.create_dataset("never written", (9, 6), "f4")


def h5_places(f):
    import h5py
    a = RNG.standard_normal((9, 6)).astype("f4")
    f.create_dataset("one chunk", data=a, chunks=(9, 6))
    f.create_dataset("last short", data=a[:8], chunks=(3, 6))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    d = h5py.h5d.create(f.id, b"compact", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((4,)), plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(4.0))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_chunk((4, 6))
    d = h5py.h5d.create(f.id, b"early", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((9, 6)), plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, a)


def h5_links(f):
    import h5py
    f["g/a"] = RNG.standard_normal(3)
    f["g/h"] = f["g/a"]  # a hard link
    f["g/s"] = h5py.SoftLink("/g/a")
    f["g/x"] = h5py.ExternalLink("other.h5", "/a")
    f["g/up"] = f["/"]  # a circle
    f["type"] = np.dtype("f4")
    f.create_dataset("named", data=np.arange(3.0), dtype=f["type"])


def tiny_keras(seed):
    import keras
    keras.utils.set_random_seed(seed)
    m = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="d1"), keras.layers.Dense(2, name="d2")])
    m.compile("sgd", "mse")
    m.fit(RNG.standard_normal((8, 4)), RNG.standard_normal((8, 2)), verbose=0)
    return m

MANY = int(os.environ.get("MANY", 50))


def hdf5():
    import h5py
    room = Room("hdf5")
    for name, fill in (("kinds", h5_kinds), ("layouts", h5_layouts), ("places", h5_places), ("links", h5_links)):
        for libver in ("earliest", "latest"):
            with h5py.File(room.path(f"{name}-{libver}.h5"), "w", libver=libver) as f:
                fill(f)
            h5_row(room, f"{name}-{libver}.h5")
    with h5py.File(room.path("many-earliest.h5"), "w") as f:
        for i in range(30):
            f[f"layer.{i}.w"] = RNG.standard_normal(2)
    h5_row(room, "many-earliest.h5")
    with h5py.File(room.path("many-latest.h5"), "w", libver="latest") as f:
        for i in range(MANY):  # more than a leaf of the tree of names has
            f[f"layer.{i:02}.weight"] = np.array([i], "u1" if MANY < 256 else "u2")
    h5_row(room, "many-latest.h5")
    with h5py.File(room.path("paged.h5"), "w", libver="latest") as f:
        f.create_dataset("pages", (1030, 1), "u1", chunks=(1, 1))[1020:1028] = 7
    h5_row(room, "paged.h5")
    with h5py.File(room.path("userblock.h5"), "w", userblock_size=512) as f:
        f["a"] = np.arange(3.0)
    h5_row(room, "userblock.h5")

    m = tiny_keras(1)
    m.save_weights(room.path("keras.weights.h5"))
    h5_row(room, "keras.weights.h5")
    m.save(room.path("model.keras"))
    z = zipfile.ZipFile(room.path("model.keras"))
    i = z.getinfo("model.weights.h5")
    head = open(room.path("model.keras"), "rb").read()[i.header_offset:][26:30]
    h5_row(room, "model.keras", "keras", i.header_offset + 30 + head[0] + 256 * head[1] + head[2] + 256 * head[3], i.file_size)
    room.close()


# ---- flax

JAX = dict(NUMPY, **{"bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"})


def flax_row(room, file, state, parts={}):
    """Adds the arrays of a state dict. Those in parts are written as parts of so many elements: payloads, and no tensor."""
    tensors, payloads = [], []

    def visit(path, x):
        if isinstance(x, dict):
            for k, v in x.items():
                visit(f"{path}.{k}" if path else str(k), v)
        elif hasattr(x, "dtype"):
            a = np.asarray(x)
            kind = JAX.get(a.dtype.name) or JAX.get(a.dtype.kind + str(a.dtype.itemsize), "BYTES")
            b = a.tobytes()
            if path in parts:
                for i, p in enumerate(np.split(a.ravel(), range(parts[path], a.size, parts[path]))):
                    payloads.append({"name": f"{path}[{i}]", "dtype": kind, "bytes": p.nbytes, "sha256": sha(p.tobytes())})
                return
            tensors.append({"name": path, "dtype": kind, "shape": list(a.shape), "sha256": sha(b)})
            if b:
                payloads.append({"name": path, "dtype": kind, "bytes": len(b), "sha256": sha(b)})

    visit("", state)
    room.add(file, "flax-msgpack", tensors, payloads)


def msgpack():
    import flax.linen as nn
    import flax.serialization as fs
    import jax
    import jax.numpy as jnp
    import ml_dtypes
    import optax
    from flax.training.train_state import TrainState
    room = Room("msgpack")

    def save(file, target, **kw):
        open(room.path(file), "wb").write(fs.to_bytes(target))
        flax_row(room, file, fs.to_state_dict(target), **kw)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.relu(nn.Dense(5)(x)))

    net = Net()
    params = net.init(jax.random.key(0), jnp.ones((1, 4)))
    save("params.msgpack", params)
    state = TrainState.create(apply_fn=net.apply, params=params["params"], tx=optax.adamw(1e-3))
    grads = jax.grad(lambda p: jnp.square(net.apply({"params": p}, jnp.ones((2, 4)))).sum())(state.params)
    save("state.msgpack", state.apply_gradients(grads=grads))
    kinds = {k: RNG.integers(0, 9, 5).astype(k) for k in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "bool", "c8", "c16")}
    kinds |= {k: np.arange(5).astype(getattr(ml_dtypes, k)) for k in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}
    save("kinds.msgpack", {"kinds": kinds, "none": np.empty((0, 3), "f4"), "0d": np.array(2.5), "scalar": np.float32(1), "py": 3, "text": "ä", "complex": 1j, "b": b"xyz",
                           "neg": -5, "big": 2**40, "float": 0.5, "no": None, "yes": True, "list": {"0": np.arange(3), "1": -300}})
    fs.MAX_CHUNK_SIZE = 64
    save("chunked.msgpack", {"w": np.arange(40, dtype="f4").reshape(8, 5), "b": np.ones(3)}, parts={"w": 16})
    room.close()


if __name__ == "__main__":
    for make in (hdf5, msgpack):
        if len(sys.argv) < 2 or make.__name__ in sys.argv[1:]:
            make()
