package same

import (
	"bytes"
	"testing"
)

func TestPattern(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 9)
	tests := []struct {
		in   []byte
		want string
		ok   bool
	}{
		{nil, "", false},
		{[]byte("a"), "", false},
		{[]byte("aa"), "a", true},
		{[]byte("ababa"), "ab", true},
		{[]byte("abcabcabc"), "", false},
		{[]byte("abcdabcdab"), "abcd", true},
		{long, "0123456789abcdef", true},
		{long[:130], "0123456789abcdef", true},
		{append(bytes.Clone(long), 'x'), "", false},
		{make([]byte, 65536), "\x00", true},
	}
	for _, tt := range tests {
		got, ok := Pattern(tt.in)
		if string(got) != tt.want || ok != tt.ok {
			t.Errorf("Pattern(%d bytes %.20q) = %q, %v, want %q", len(tt.in), tt.in, got, ok, tt.want)
		}
		if ok {
			dst := make([]byte, len(tt.in))
			if Fill(dst, got); !bytes.Equal(dst, tt.in) {
				t.Errorf("Fill with %q gives other bytes", got)
			}
		}
	}
	if !Zero(nil) || !Zero(make([]byte, 9)) || Zero([]byte{0, 0, 1}) || Zero([]byte{1, 1}) {
		t.Error("Zero is wrong")
	}
}
