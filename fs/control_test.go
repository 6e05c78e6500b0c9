package fs

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
)

// readAll reads a reply as a file whose offset is off, with reads of n bytes.
func readAll(r *replyReader, off int64, n int) string {
	var out []byte
	for {
		got := r.read(make([]byte, n), off)
		if len(got) == 0 {
			return string(out)
		}
		out = append(out, got...)
		off += int64(len(got))
	}
}

func TestReplyReader(t *testing.T) {
	const text = "{\"commit\":\"3f9a\"}\n"
	for _, start := range []int64{0, 1, 5, int64(len(text)), 1000} {
		for _, n := range []int{1, 3, 4096} {
			r := &replyReader{text: []byte(text), start: start}
			if got := readAll(r, start, n); got != text {
				t.Errorf("start %d, reads of %d: reading on gives %q", start, n, got)
			}
			if got := readAll(r, 0, n); got != text {
				t.Errorf("start %d, reads of %d: then from 0 gives %q", start, n, got)
			}
			r = &replyReader{text: []byte(text), start: start}
			if got := readAll(r, 0, n); got != text {
				t.Errorf("start %d, reads of %d: seek to 0 gives %q", start, n, got)
			}
			if got := string(r.read(make([]byte, 4), 3)); start > 3 && got != text[3:7] {
				t.Errorf("start %d: pread at 3 gives %q", start, got)
			}
		}
	}
	var none replyReader
	if got := none.read(make([]byte, 4), 0); len(got) != 0 {
		t.Errorf("before any command: %q", got)
	}
	r := replyReader{text: []byte(text), start: 4}
	if got := r.read(make([]byte, 4), -1); len(got) != 0 {
		t.Errorf("negative offset: %q", got)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		errno    syscall.Errno
	}{
		{"status\n", "status", 0},
		{"status", "status", 0},
		{"snapshot -m 'two\nlines'\r\n", "snapshot -m 'two\nlines'", 0},
		{" \n", " ", 0}, // refused by the controller, whose reply says why
		{"a\x00b", "", syscall.EINVAL},
		{strings.Repeat("x", maxCommand), strings.Repeat("x", maxCommand), 0},
		{strings.Repeat("x", maxCommand+1), "", syscall.EFBIG},
	} {
		got, errno := commandLine([]byte(tc.in))
		if errno != tc.errno || errno == 0 && got != tc.want {
			t.Errorf("commandLine(%.20q) = %.20q, %v", tc.in, got, errno)
		}
	}
}

// FuzzReply: whatever the offsets, a read gives bytes of the reply, and one from the write's end gives its beginning.
func FuzzReply(f *testing.F) {
	f.Add([]byte("{}\n"), int64(10), int64(10), int64(0), 2)
	f.Add([]byte(""), int64(0), int64(-1), int64(1<<62), 0)
	f.Fuzz(func(t *testing.T, text []byte, start, a, b int64, n int) {
		if start < 0 || n < 0 || n > 1<<16 {
			t.Skip()
		}
		r := replyReader{text: text, start: start}
		for _, off := range []int64{a, b} {
			if got := r.read(make([]byte, n), off); !bytes.Contains(text, got) {
				t.Fatalf("read %q, which is not in %q", got, text)
			}
		}
		r = replyReader{text: text, start: start}
		if got := r.read(make([]byte, n), start); !bytes.HasPrefix(text, got) || len(got) != min(n, len(text)) {
			t.Fatalf("reading on gives %q of %q", got, text)
		}
	})
}
