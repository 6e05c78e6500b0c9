package format

import "coral/delta/format/dtype"

// Builder collects a Layout and keeps it within the limits: what no longer fits is left out, and stays literal. The zero
// value is ready once Format is set.
type Builder struct {
	Layout
	names, dims int
}

// Full reports whether no further tensor may be added.
func (b *Builder) Full() bool {
	return len(b.Tensors) >= MaxTensors || len(b.Payloads) >= MaxTensors || b.dims > MaxAllDims-MaxDims || b.names > MaxNames-2*MaxNameBytes
}

// Add adds a tensor and, unless it is empty, the payload that it fills. Its name must be clean.
func (b *Builder) Add(t Tensor) {
	if b.Full() {
		return
	}
	b.AddTensor(t)
	if t.Length > 0 { // though the tensor may have been the last one
		b.Payloads = append(b.Payloads, Payload{Offset: t.Offset, Length: t.Length, DType: t.DType, Name: t.Name})
	}
}

// AddTensor adds a tensor that lies in a payload of its own or of another tensor.
func (b *Builder) AddTensor(t Tensor) {
	if b.Full() {
		return
	}
	b.names += len(t.Name)
	b.dims += len(t.Shape)
	b.Tensors = append(b.Tensors, t)
}

// AddPayload adds a payload.
func (b *Builder) AddPayload(p Payload) {
	if b.Full() {
		return
	}
	b.names += len(p.Name)
	b.Payloads = append(b.Payloads, p)
}

// AddData adds the n bytes at off, which are said to be elements of kind k and of the given shape: as that tensor if they are as many bytes as
// it takes, else as a payload of unknown kind. packed is the number of bits of an element where k is dtype.Bytes
// or without a width, and 0 elsewhere.
func (b *Builder) AddData(name string, k dtype.Kind, packed int, shape []int64, off, n int64) {
	name = CleanName(name)
	want, ok := dataLen(k, packed, shape)
	if ok && want == n && len(shape) <= MaxDims {
		b.Add(Tensor{Name: name, DType: k, Shape: shape, Offset: off, Length: n})
		return
	}
	if n > 0 {
		b.AddPayload(Payload{Offset: off, Length: n, DType: dtype.Bytes, Name: name})
	}
}

// dataLen returns the bytes of a contiguous tensor; packed elements fill whole bytes at the end only.
func dataLen(k dtype.Kind, packed int, shape []int64) (int64, bool) {
	n, ok := Elements(shape)
	if !ok {
		return 0, false
	}
	if packed == 0 {
		return mul(n, int64(k.Width()))
	}
	if n, ok = mul(n, int64(packed)); !ok {
		return 0, false
	}
	return n/8 + min(n%8, 1), true
}
