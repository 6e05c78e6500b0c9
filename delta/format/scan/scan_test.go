package scan

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"testing/iotest"

	"coral/delta/format"
)

func TestReader(t *testing.T) {
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	s := New(bytes.NewReader(data), 3, int64(len(data)-5))
	if got := s.Byte(); got != data[3] || s.Pos() != 4 {
		t.Fatalf("Byte = %d at %d", got, s.Pos())
	}
	if b := s.Next(MaxNext); !bytes.Equal(b, data[4:4+MaxNext]) {
		t.Fatal("Next(MaxNext) has other bytes")
	}
	s.Skip(10)
	at := s.Pos()
	if got, want := s.U32(), uint32(data[at])|uint32(data[at+1])<<8|uint32(data[at+2])<<16|uint32(data[at+3])<<24; got != want {
		t.Fatalf("U32 = %x, want %x", got, want)
	}
	s.Skip(100_000) // beyond the buffer
	at = s.Pos()
	if b, ok := s.Peek(); !ok || b != data[at] || s.Pos() != at {
		t.Fatalf("Peek = %d, %v", b, ok)
	}
	s.Skip(uint64(s.Left()))
	if _, ok := s.Peek(); ok || s.Err() != nil || s.Left() != 0 {
		t.Fatalf("at the end: peek %v, %v, %d left", ok, s.Err(), s.Left())
	}
	if s.Byte(); !errors.Is(s.Err(), format.ErrDamaged) {
		t.Fatalf("past the end: %v", s.Err())
	}
	if s.U64() != 0 || s.Next(1) != nil {
		t.Error("an error does not stick")
	}
	s.Reset(0, 2)
	if got := s.U16(); got != uint16(data[0])|uint16(data[1])<<8 || s.Err() != nil {
		t.Errorf("after Reset: %x, %v", got, s.Err())
	}
}

func TestLies(t *testing.T) {
	for name, f := range map[string]func(s *Reader){
		"skip":     func(s *Reader) { s.Skip(math.MaxUint64) },
		"next":     func(s *Reader) { s.Next(MaxNext + 1) },
		"negative": func(s *Reader) { s.Next(-1) },
		"string":   func(s *Reader) { s.String(1<<60, 1<<20) },
		"line":     func(s *Reader) { s.Line(10) },
		"u64":      func(s *Reader) { s.Skip(3); s.U64() },
	} {
		s := New(bytes.NewReader(make([]byte, 10)), 0, 10)
		if f(s); !errors.Is(s.Err(), format.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, s.Err())
		}
	}
}

// TestShortFile: the range may be longer than the file turns out to be.
func TestShortFile(t *testing.T) {
	s := New(bytes.NewReader(make([]byte, 10)), 0, 20)
	if s.Next(10) == nil || s.Err() != nil {
		t.Fatalf("the bytes that there are: %v", s.Err())
	}
	if s.Next(1); !errors.Is(s.Err(), format.ErrDamaged) {
		t.Errorf("behind them: %v", s.Err())
	}
}

func TestReadError(t *testing.T) {
	s := New(failing{}, 0, 20)
	if s.U16(); !errors.Is(s.Err(), iotest.ErrTimeout) || errors.Is(s.UnknownOr(), format.ErrUnknown) {
		t.Errorf("read error comes back as %v, %v", s.Err(), s.UnknownOr())
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func TestStrings(t *testing.T) {
	s := New(bytes.NewReader([]byte("abcdefgh\nline two\nx")), 0, 19)
	if got, ok := s.String(3, 3); got != "abc" || !ok {
		t.Errorf("String = %q, %v", got, ok)
	}
	if got, ok := s.String(3, 2); got != "" || ok || s.Pos() != 6 {
		t.Errorf("long String = %q, %v at %d", got, ok, s.Pos())
	}
	if got, ok := s.Line(2); got != "gh" || !ok {
		t.Errorf("Line = %q, %v", got, ok)
	}
	if got, ok := s.Line(4); got != "line" || ok || s.Pos() != 18 {
		t.Errorf("long Line = %q, %v at %d", got, ok, s.Pos())
	}
}
