package object

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/blake3"

	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// The bytes of an object:
//
//	0  1  kind: 2 manifest, 3 tree, 4 commit, 5 tag (objstore.Kind)
//	1  1  version of this kind's layout: 1
//	2  …  one core-deterministic CBOR map with integer keys
//
// "bytes" is a CBOR byte string, "text" a text string, "id" a byte string of 32. Names, link targets and tensor names are
// byte strings since they need not be UTF-8. A time is an integer: nanoseconds since 1970, or -2^63 for none. What is empty and
// marked (opt) is absent.
//
//	manifest {1: size, 2: id of the whole file, 3: format text, 4: [segment…] (opt), 5: [tensor…] (opt)}
//	segment  [0, length, inline bytes] or [1, length, blob id]
//	tensor   [name bytes, dtype, [shape…], offset, length, [stride…]]
//	tree     {1: [entry…] (opt)}
//	entry    [name bytes, kind, mode, time, size, bytes]; the last is the id of a file or directory, or a link's target
//	commit   {1: tree id, 2: [parent id…] (opt), 3: author text, 4: time, 5: message text,
//	          6: {name text: float} (opt), 7: {name text: text} (opt)}
//	tag      {1: target id, 2: tagger text, 3: time, 4: message text}
const version = 1

// idContext separates the ids of objects from those of blobs. Permanent.
const idContext = "coral 2026 object id v1"

// hashers are keyed already: deriving the key costs more than hashing a manifest does.
var hashers = sync.Pool{New: func() any { return blake3.NewDeriveKey(idContext) }}

// Sum returns the id of an object's bytes.
func Sum(b []byte) oid.ID {
	var id oid.ID
	h := hashers.Get().(*blake3.Hasher)
	h.Reset() // keeps the derived key
	_, _ = h.Write(b)
	h.Sum(id[:0])
	hashers.Put(h)
	return id
}

const (
	noTime  = math.MinInt64 // the zero time.Time
	segData = 0
	segBlob = 1
)

type wireManifest struct {
	Size     int64         `cbor:"1,keyasint"`
	Hash     oid.ID        `cbor:"2,keyasint"`
	Format   string        `cbor:"3,keyasint"`
	Segments []wireSegment `cbor:"4,keyasint,omitempty"`
	Tensors  []wireTensor  `cbor:"5,keyasint,omitempty"`
}

type wireSegment struct {
	_      struct{} `cbor:",toarray"`
	Kind   uint8
	Length int64
	Data   []byte
}

type wireTensor struct {
	_      struct{} `cbor:",toarray"`
	Name   cbor.ByteString
	DType  uint8
	Shape  []int64
	Offset int64
	Length int64
	Stride []int64
}

type wireTree struct {
	Entries []wireEntry `cbor:"1,keyasint,omitempty"`
}

type wireEntry struct {
	_     struct{} `cbor:",toarray"`
	Name  cbor.ByteString
	Kind  uint8
	Mode  uint32
	MTime int64
	Size  int64
	Ref   cbor.ByteString
}

type wireCommit struct {
	Tree    oid.ID             `cbor:"1,keyasint"`
	Parents []oid.ID           `cbor:"2,keyasint,omitempty"`
	Author  string             `cbor:"3,keyasint"`
	Time    int64              `cbor:"4,keyasint"`
	Message string             `cbor:"5,keyasint"`
	Metrics map[string]float64 `cbor:"6,keyasint,omitempty"`
	Labels  map[string]string  `cbor:"7,keyasint,omitempty"`
}

type wireTag struct {
	Target  oid.ID `cbor:"1,keyasint"`
	Tagger  string `cbor:"2,keyasint"`
	Time    int64  `cbor:"3,keyasint"`
	Message string `cbor:"4,keyasint"`
}

// encMode writes, and decModes[n] reads objects of fewer than 2^(n+minArrayBits+2) bytes: no element of our arrays takes
// less than 4 bytes, so a short object cannot make the decoder allocate a long slice.
var (
	encMode  = newEncMode()
	decModes = newDecModes()
)

const (
	minArrayBits = 12
	maxArrayBits = 22
)

func newEncMode() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	o.TagsMd = cbor.TagsForbidden
	m, err := o.EncMode()
	if err != nil {
		panic(err) // a wrong constant above
	}
	return m
}

func newDecModes() []cbor.DecMode {
	var out []cbor.DecMode
	for b := minArrayBits; b <= maxArrayBits; b++ {
		m, err := cbor.DecOptions{
			DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
			MaxNestedLevels: 4, MaxArrayElements: 1 << b, MaxMapPairs: MaxFacts,
			ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, UTF8: cbor.UTF8RejectInvalid,
		}.DecMode()
		if err != nil {
			panic(err) // a wrong constant above
		}
		out = append(out, m)
	}
	return out
}

func decModeFor(n int) cbor.DecMode {
	b := bits.Len(uint(n / 4))
	return decModes[min(max(b, minArrayBits), maxArrayBits)-minArrayBits]
}

// Encode returns the kind and the bytes of v: a *Manifest, *Tree, *Commit or *Tag. What is not valid is errs.Invalid.
func Encode(v any) (objstore.Kind, []byte, error) {
	var kind objstore.Kind
	var wire any
	var err error
	switch v := v.(type) {
	case *Manifest:
		kind, err, wire = objstore.Manifest, v.check(), v.wire()
	case *Tree:
		kind, err, wire = objstore.Tree, v.check(), v.wire()
	case *Commit:
		kind, err, wire = objstore.Commit, v.check(), v.wire()
	case *Tag:
		kind, err, wire = objstore.Tag, v.check(), v.wire()
	default:
		return 0, nil, fmt.Errorf("encode %T: not an object: %w", v, errs.Invalid)
	}
	if err != nil {
		return kind, nil, err
	}
	buf := bytes.NewBuffer([]byte{byte(kind), version})
	if err := encMode.NewEncoder(buf).Encode(wire); err != nil {
		return kind, nil, fmt.Errorf("encode %s: %v: %w", kind, err, errs.Invalid)
	}
	if buf.Len() > MaxEncoded {
		return kind, nil, fmt.Errorf("encode %s: %d bytes, at most %d can be stored: %w", kind, buf.Len(), MaxEncoded, errs.TooLarge)
	}
	return kind, buf.Bytes(), nil
}

// Decode returns the kind and value (*Manifest, *Tree, *Commit or *Tag) of an object's bytes. Bytes that Encode would
// not write are errs.Corrupt; those of a newer version are errs.Unsupported.
func Decode(b []byte) (objstore.Kind, any, error) {
	if len(b) < 3 || len(b) > MaxEncoded {
		return 0, nil, fmt.Errorf("object of %d bytes: %w", len(b), errs.Corrupt)
	}
	kind := objstore.Kind(b[0])
	if kind < objstore.Manifest || kind > objstore.Tag {
		return 0, nil, fmt.Errorf("object of kind %d: this coral does not know it: %w", b[0], errs.Unsupported)
	}
	if b[1] != version {
		return kind, nil, fmt.Errorf("%s of version %d: this coral knows version %d, use a newer one: %w", kind, b[1], version, errs.Unsupported)
	}
	v, err := decodeBody(kind, b[2:])
	if err != nil {
		return kind, nil, fmt.Errorf("%s: %v: %w", kind, err, errs.Corrupt)
	}
	_, again, err := Encode(v)
	if err != nil {
		return kind, nil, fmt.Errorf("%s: %v: %w", kind, err, errs.Corrupt)
	}
	if !bytes.Equal(again, b) {
		return kind, nil, fmt.Errorf("%s: not in the deterministic encoding: %w", kind, errs.Corrupt)
	}
	return kind, v, nil
}

func decodeBody(kind objstore.Kind, body []byte) (any, error) {
	mode := decModeFor(len(body))
	switch kind {
	case objstore.Manifest:
		var w wireManifest
		if err := mode.Unmarshal(body, &w); err != nil {
			return nil, err
		}
		return w.value()
	case objstore.Tree:
		var w wireTree
		if err := mode.Unmarshal(body, &w); err != nil {
			return nil, err
		}
		return w.value()
	case objstore.Commit:
		var w wireCommit
		err := mode.Unmarshal(body, &w)
		return &Commit{Tree: w.Tree, Parents: w.Parents, Author: w.Author, Time: timeOf(w.Time), Message: w.Message, Metrics: w.Metrics, Labels: w.Labels}, err
	default:
		var w wireTag
		err := mode.Unmarshal(body, &w)
		return &Tag{Target: w.Target, Tagger: w.Tagger, Time: timeOf(w.Time), Message: w.Message}, err
	}
}

func (m *Manifest) wire() *wireManifest {
	w := &wireManifest{Size: m.Size, Hash: m.Hash, Format: m.Format}
	w.Segments = make([]wireSegment, len(m.Segments))
	for i := range m.Segments {
		s := &m.Segments[i]
		if s.Blob.IsZero() {
			w.Segments[i] = wireSegment{Kind: segData, Length: s.Length, Data: s.Inline}
		} else {
			w.Segments[i] = wireSegment{Kind: segBlob, Length: s.Length, Data: s.Blob[:]}
		}
	}
	w.Tensors = make([]wireTensor, len(m.Tensors))
	for i, t := range m.Tensors {
		w.Tensors[i] = wireTensor{Name: cbor.ByteString(t.Name), DType: uint8(t.DType), Shape: t.Shape, Offset: t.Offset, Length: t.Length, Stride: t.Stride}
	}
	return w
}

func (w *wireManifest) value() (*Manifest, error) {
	m := &Manifest{Size: w.Size, Hash: w.Hash, Format: w.Format}
	m.Segments = make([]Segment, len(w.Segments))
	for i, s := range w.Segments {
		switch {
		case s.Kind == segData:
			m.Segments[i] = Segment{Length: s.Length, Inline: s.Data}
		case s.Kind == segBlob && len(s.Data) == oid.Size:
			m.Segments[i] = Segment{Length: s.Length, Blob: oid.ID(s.Data)}
		default:
			return nil, fmt.Errorf("segment %d: kind %d with %d bytes", i, s.Kind, len(s.Data))
		}
	}
	if len(w.Tensors) > 0 {
		m.Tensors = make([]Tensor, len(w.Tensors))
	}
	for i, t := range w.Tensors {
		m.Tensors[i] = Tensor{Name: string(t.Name), DType: dtype.Kind(t.DType), Shape: noEmpty(t.Shape), Offset: t.Offset, Length: t.Length, Stride: noEmpty(t.Stride)}
	}
	return m, nil
}

func (t *Tree) wire() *wireTree {
	w := &wireTree{Entries: make([]wireEntry, len(t.Entries))}
	for i := range t.Entries {
		e := &t.Entries[i]
		ref := cbor.ByteString(e.Target)
		if e.Kind != Symlink {
			ref = cbor.ByteString(e.ID[:])
		}
		w.Entries[i] = wireEntry{Name: cbor.ByteString(e.Name), Kind: uint8(e.Kind), Mode: e.Mode, MTime: nanos(e.MTime), Size: e.Size, Ref: ref}
	}
	return w
}

func (w *wireTree) value() (*Tree, error) {
	t := &Tree{Entries: make([]Entry, len(w.Entries))}
	for i := range w.Entries {
		we := &w.Entries[i]
		e := Entry{Name: string(we.Name), Kind: FileKind(we.Kind), Mode: we.Mode, MTime: timeOf(we.MTime), Size: we.Size}
		switch {
		case e.Kind == Symlink:
			e.Target = string(we.Ref)
		case len(we.Ref) == oid.Size:
			copy(e.ID[:], we.Ref)
		default:
			return nil, fmt.Errorf("entry %q: id of %d bytes", e.Name, len(we.Ref))
		}
		t.Entries[i] = e
	}
	return t, nil
}

func (c *Commit) wire() *wireCommit {
	return &wireCommit{Tree: c.Tree, Parents: c.Parents, Author: c.Author, Time: nanos(c.Time), Message: c.Message, Metrics: c.Metrics, Labels: c.Labels}
}

func (t *Tag) wire() *wireTag {
	return &wireTag{Target: t.Target, Tagger: t.Tagger, Time: nanos(t.Time), Message: t.Message}
}

func noEmpty(s []int64) []int64 {
	if len(s) == 0 {
		return nil
	}
	return s
}

// The first and last instants that an int64 of nanoseconds can hold, noTime excepted.
var (
	minTime = time.Unix(0, math.MinInt64+1)
	maxTime = time.Unix(0, math.MaxInt64)
)

func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return noTime
	case t.Before(minTime):
		return math.MinInt64 + 1
	case t.After(maxTime):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func timeOf(n int64) time.Time {
	if n == noTime {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
