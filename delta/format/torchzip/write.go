package torchzip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/zipout"
	"coral/internal/errs"
)

// storageClass names the class of a storage of kind k in module torch; "" for kinds that came after typed storages, which have dtypeName instead.
var storageClass = map[dtype.Kind]string{
	dtype.F64: "DoubleStorage", dtype.F32: "FloatStorage", dtype.F16: "HalfStorage", dtype.BF16: "BFloat16Storage",
	dtype.I64: "LongStorage", dtype.I32: "IntStorage", dtype.I16: "ShortStorage", dtype.I8: "CharStorage", dtype.U8: "ByteStorage", dtype.Bool: "BoolStorage",
	dtype.C64: "ComplexFloatStorage", dtype.C128: "ComplexDoubleStorage",
}

// dtypeName names the dtypes that torch saves as an UntypedStorage and the dtype beside it (torch._tensor._reduce_ex_internal, torch 2.3 and later).
var dtypeName = map[dtype.Kind]string{
	dtype.U16: "uint16", dtype.U32: "uint32", dtype.U64: "uint64",
	dtype.F8E4M3: "float8_e4m3fn", dtype.F8E5M2: "float8_e5m2", dtype.F8E8M0: "float8_e8m0fnu",
}

// Supported reports whether torch has a dtype for kind k.
func Supported(k dtype.Kind) bool { return storageClass[k] != "" || dtypeName[k] != "" }

// alignment is that of every entry, as torch's.
const alignment = 64

// top is what the names of all entries begin with. torch uses the name of the file; a constant one keeps the bytes the same whatever the file is called.
const top = "archive/"

// Writer writes one file as torch.save does: an OrderedDict of tensors by name, which torch.load(weights_only=True) reads, also with mmap=True. Tied items share
// their storage. The record serialization_id, a checksum that nothing needs, is left out.
type Writer struct {
	items  []format.Item
	key    []int // which storage holds an item
	pickle []byte
}

// NewWriter lays out a file of these tensors. What torch cannot hold is errs.Invalid.
func NewWriter(items []format.Item) (*Writer, error) {
	if err := format.CheckItems(items); err != nil {
		return nil, fmt.Errorf("torch: %w", err)
	}
	w := &Writer{items: items, key: make([]int, len(items))}
	storages := 0
	for i := range items {
		it := &items[i]
		switch {
		case !Supported(it.DType):
			return nil, fmt.Errorf("torch: tensor %q: there are no %s in torch: %w", it.Name, it.DType, errs.Invalid)
		case it.TiedTo > 0:
			w.key[i] = w.key[it.TiedTo-1]
		default:
			w.key[i] = storages
			storages++
		}
	}
	w.pickle = w.dict()
	return w, nil
}

// Write writes the file to dst, calling fill for each item that is not tied to an earlier one, in their order.
func (w *Writer) Write(dst io.Writer, fill format.Fill) error {
	z := zipout.New(dst, alignment)
	head := []struct{ name, data string }{{"data.pkl", string(w.pickle)}, {".format_version", "1"}, {".storage_alignment", strconv.Itoa(alignment)}, {"byteorder", "little"}}
	for _, e := range head {
		if err := z.Bytes(top+e.name, []byte(e.data)); err != nil {
			return err
		}
	}
	for i := range w.items {
		it := &w.items[i]
		if it.TiedTo > 0 {
			continue
		}
		err := z.Entry(top+"data/"+strconv.Itoa(w.key[i]), it.Length, func(w io.Writer) error { return fill(i, w) })
		if err != nil {
			return fmt.Errorf("tensor %q: %w", it.Name, err)
		}
	}
	if err := z.Bytes(top+"version", []byte("3\n")); err != nil {
		return err
	}
	return z.Close()
}

// pickler writes opcodes of protocol 2. Nothing is memoised: what torch repeats by BINGET is written again, 200 bytes a tensor.
type pickler struct{ bytes.Buffer }

func (p *pickler) global(module, name string) { p.WriteString("c" + module + "\n" + name + "\n") }

func (p *pickler) str(s string) {
	p.WriteByte('X')
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
}

func (p *pickler) int(n int64) {
	switch {
	case n >= 0 && n <= math.MaxUint8:
		p.Write([]byte{'K', byte(n)})
	case n >= 0 && n <= math.MaxUint16:
		p.Write([]byte{'M', byte(n), byte(n >> 8)})
	case n >= 0 && n <= math.MaxInt32:
		p.WriteByte('J')
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	default:
		p.Write([]byte{0x8a, 8}) // LONG1
		p.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	}
}

// ints writes a tuple.
func (p *pickler) ints(list []int64) {
	p.WriteByte('(')
	for _, n := range list {
		p.int(n)
	}
	p.WriteByte('t')
}

func (p *pickler) emptyOrderedDict() {
	p.global("collections", "OrderedDict")
	p.WriteString(")R")
}

// dict returns data.pkl.
func (w *Writer) dict() []byte {
	p := &pickler{}
	p.WriteString("\x80\x02")
	p.emptyOrderedDict()
	for i := range w.items {
		it := &w.items[i]
		p.WriteByte('(') // items one by one: MARK key value SETITEMS
		p.str(it.Name)
		p.tensor(it, w.key[i])
		p.WriteByte('u')
	}
	p.WriteByte('.')
	return p.Bytes()
}

// tensor writes the call that makes a tensor: _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), or _v3 with the dtype behind these.
func (p *pickler) tensor(it *format.Item, key int) {
	class, untyped := storageClass[it.DType], dtypeName[it.DType]
	fn, n := "_rebuild_tensor_v2", it.Length
	if untyped != "" {
		fn = "_rebuild_tensor_v3"
	} else {
		n /= int64(it.DType.Width())
	}
	p.global("torch._utils", fn)
	p.WriteString("((") // its arguments, and in them those of the persistent id
	p.str("storage")
	if untyped != "" {
		p.global("torch.storage", "UntypedStorage")
	} else {
		p.global("torch", class)
	}
	p.str(strconv.Itoa(key))
	p.str("cpu")
	p.int(n)
	p.WriteString("tQ")
	p.int(0)
	p.ints(it.Shape)
	p.ints(strides(it.Shape))
	p.WriteByte(0x89) // False
	p.emptyOrderedDict()
	if untyped != "" {
		p.global("torch", untyped)
	}
	p.WriteString("tR")
}

// strides returns those of a contiguous tensor as torch has them: an empty dimension counts as one.
func strides(shape []int64) []int64 {
	out := make([]int64, len(shape))
	n := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		if d := max(shape[i], 1); n <= math.MaxInt64/d {
			n *= d // an empty tensor's other dimensions may be absurd
		}
	}
	return out
}
