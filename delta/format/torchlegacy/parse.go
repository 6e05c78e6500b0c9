// Package torchlegacy cuts what torch.save wrote before torch 1.6 and still writes when asked to. The file is
//
//	magic    pickle of the number 0x1950a86a20f9469cfc6c
//	version  pickle of 1001
//	system   pickle of a dict with little_endian
//	object   pickle; its storages are named by keys that differ from save to save
//	keys     pickle of the list of those keys, sorted
//	then for each key: u64 number of elements, the elements
//
// Each storage is a payload, named by the dotted path of a tensor in it, or storage.N for the Nth one of the object.
package torchlegacy

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/pickle"
	"coral/delta/format/scan"
)

const kind = format.TorchLegacy

// magic is the operand of the LONG1 that every file begins with.
var magic = []byte{0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'}

// Parser is the format.Parser of torch's files before 1.6.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// Parse cuts a file of size bytes. It returns format.ErrUnknown if the magic number is missing.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	s := scan.New(r, 0, min(size, format.MaxHeader))
	system, err := begin(s)
	if err != nil {
		return nil, err
	}
	little, known := system.Root.Flags["little_endian"]
	object, err := pickle.Scan(s)
	if err != nil {
		return nil, err
	}
	keys, err := pickle.Scan(s)
	if err != nil {
		return nil, err
	}
	if keys.Root.Strings == nil {
		return nil, format.Damaged(kind, s.Pos(), "no list of keys")
	}
	f := file{r: r, size: size, at: s.Pos(), big: known && !little, object: object}
	return f.cut(keys.Root.Strings)
}

// begin reads what stands before the object, and returns what the system pickle holds.
func begin(s *scan.Reader) (system *pickle.Result, err error) {
	if !isMagic(s) {
		return nil, s.UnknownOr()
	}
	if _, err := pickle.Scan(s); err != nil { // the version: 1001 in every file; another would show in what follows
		return nil, err
	}
	return pickle.Scan(s)
}

// Details returns what the object of a file that Parse has accepted holds beside its tensors. Of a pickle that goes on behind most bytes it has what was found until then.
func Details(r io.ReaderAt, size, most int64) (*pickle.Details, error) {
	s := scan.New(r, 0, min(size, most))
	if _, err := begin(s); err != nil {
		return nil, err
	}
	return pickle.ScanDetails(s)
}

// isMagic reads the first pickle: protocol, perhaps a frame, the number, stop.
func isMagic(s *scan.Reader) bool {
	head := s.Next(2)
	if len(head) != 2 || head[0] != 0x80 || head[1] < 2 || head[1] > 5 {
		return false
	}
	if b, ok := s.Peek(); ok && b == 0x95 {
		s.Next(9)
	}
	return bytes.Equal(s.Next(len(magic)), magic)
}

// file is a legacy file whose pickles have been read.
type file struct {
	r      io.ReaderAt
	size   int64
	at     int64 // where the next storage begins
	big    bool
	object *pickle.Result
}

// cut walks the storages in the order of keys.
func (f *file) cut(keys []string) (*format.Layout, error) {
	if len(keys) > format.MaxTensors {
		return nil, format.Damaged(kind, f.at, "%d storages", len(keys))
	}
	l := &format.Layout{Format: kind}
	index := make(map[string]int, len(f.object.Storages))
	for i, st := range f.object.Storages {
		index[st.Key] = i
	}
	data := make([]format.Payload, len(f.object.Storages)) // by index of the storage
	found := make([]bool, len(data))
	for _, key := range keys {
		i, ok := index[key]
		if !ok || f.object.Storages[i].Width == 0 || found[i] {
			return nil, format.Damaged(kind, f.at, "no element size for storage %q", format.CleanName(key))
		}
		p, err := f.payload(i)
		if err != nil {
			return nil, err
		}
		data[i], found[i] = p, true
		if p.Length > 0 {
			l.Payloads = append(l.Payloads, p)
		}
	}
	for i := range f.object.Tensors {
		if t := &f.object.Tensors[i]; found[t.Storage] {
			if out, ok := t.Place(data[t.Storage].Offset, data[t.Storage].Length, f.big); ok {
				l.Tensors = append(l.Tensors, out)
			}
		}
	}
	l.Sort()
	return l, nil
}

// payload reads the length of storage i and moves behind its bytes.
func (f *file) payload(i int) (format.Payload, error) {
	var b [8]byte
	if f.size-f.at < 8 {
		return format.Payload{}, format.Damaged(kind, f.at, "file of %d bytes ends before storage %d", f.size, i)
	}
	if n, err := f.r.ReadAt(b[:], f.at); n < 8 {
		if err == io.EOF {
			err = format.Damaged(kind, f.at, "file ends before storage %d", i)
		}
		return format.Payload{}, err
	}
	st := &f.object.Storages[i]
	count := binary.LittleEndian.Uint64(b[:])
	off := f.at + 8
	if f.big {
		count = binary.BigEndian.Uint64(b[:])
	}
	if count > uint64((f.size-off)/int64(st.Width)) {
		return format.Payload{}, format.Damaged(kind, f.at, "storage %d of %d elements in a file of %d bytes", i, count, f.size)
	}
	p := format.Payload{Offset: off, Length: int64(count) * int64(st.Width), DType: st.Kind, Name: st.Name}
	if w := int64(st.Kind.Width()); w > 1 && f.big || p.Length%w != 0 {
		p.DType = dtype.Bytes
	}
	if p.Name == "" {
		p.Name = "storage." + strconv.Itoa(i)
	}
	f.at = off + p.Length
	return p, nil
}
