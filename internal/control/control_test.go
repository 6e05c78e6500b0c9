package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coral/internal/errs"
)

// handler is a Handler of functions.
type handler struct {
	call   func(ctx context.Context, verb string, req json.RawMessage, progress func(Progress)) (any, error)
	stream func(ctx context.Context, verb string, req json.RawMessage, w io.Writer) error
}

func (h handler) Call(ctx context.Context, verb string, req json.RawMessage, progress func(Progress)) (any, error) {
	return h.call(ctx, verb, req, progress)
}

func (h handler) Stream(ctx context.Context, verb string, req json.RawMessage, w io.Writer) error {
	return h.stream(ctx, verb, req, w)
}

func start(t *testing.T, h Handler) (*Client, *Server, string) {
	t.Helper()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, h, Info{PID: 42, Version: "test"}, nil)
	t.Cleanup(func() { _ = s.Close() })
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, s, dir
}

func TestCall(t *testing.T) {
	seen := make(chan struct{})
	c, _, dir := start(t, handler{call: func(ctx context.Context, verb string, req json.RawMessage, progress func(Progress)) (any, error) {
		switch verb {
		case "echo":
			progress(Progress{Step: "half", Done: 1, Total: 2})
			<-seen
			return map[string]any{"req": req}, nil
		case "nil":
			return nil, nil
		case "panic":
			panic("boom")
		}
		return nil, fmt.Errorf("branch %q\nmoved: %w", "main", errs.Conflict)
	}})
	if got := c.Info(); got.PID != 42 || got.Protocol != Protocol || got.Version != "test" {
		t.Errorf("Info = %+v", got)
	}
	if fi, err := os.Stat(filepath.Join(dir, SocketName)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", fi.Mode(), err)
	}
	raw, err := c.Call(t.Context(), "echo", map[string]int{"a": 1}, func(p Progress) {
		if p.Step == "half" && p.Total == 2 {
			close(seen)
		}
	})
	if err != nil || string(raw) != `{"req":{"a":1}}` {
		t.Errorf("echo = %s, %v", raw, err)
	}
	if raw, err := c.Call(t.Context(), "nil", nil, nil); err != nil || string(raw) != "null" {
		t.Errorf("nil = %s, %v", raw, err)
	}
	_, err = c.Call(t.Context(), "other", nil, nil)
	if !errors.Is(err, errs.Conflict) || err.Error() != `branch "main" moved: conflict` {
		t.Errorf("other: %v", err)
	}
	if _, err = c.Call(t.Context(), "panic", nil, nil); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("panic: %v", err)
	}
}

func TestStream(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	c, _, _ := start(t, handler{stream: func(ctx context.Context, verb string, req json.RawMessage, w io.Writer) error {
		switch verb {
		case "big":
			_, err := w.Write(big)
			return err
		case "half":
			_, _ = w.Write(big[:len(big)/2])
			return &errs.CorruptError{Where: "blob", Offset: 7, Detail: "bit"}
		case "early":
			return fmt.Errorf("path: %w", errs.NotFound)
		}
		return nil
	}})
	var got bytes.Buffer
	if err := c.Stream(t.Context(), "big", nil, &got); err != nil || !bytes.Equal(got.Bytes(), big) {
		t.Errorf("big: %d bytes, %v", got.Len(), err)
	}
	got.Reset()
	if err := c.Stream(t.Context(), "half", nil, &got); !errors.Is(err, errs.Corrupt) {
		t.Errorf("half: %d bytes, %v", got.Len(), err)
	}
	got.Reset()
	if err := c.Stream(t.Context(), "early", nil, &got); !errors.Is(err, errs.NotFound) || got.Len() != 0 {
		t.Errorf("early: %d bytes, %v", got.Len(), err)
	}
	if err := c.Stream(t.Context(), "empty", nil, &got); err != nil || got.Len() != 0 {
		t.Errorf("empty: %d bytes, %v", got.Len(), err)
	}
}

// TestCancel proves that a client's cancel reaches the handler, and that the server lives on.
func TestCancel(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	c, _, _ := start(t, handler{call: func(ctx context.Context, verb string, _ json.RawMessage, progress func(Progress)) (any, error) {
		if verb == "quick" {
			return 1, nil
		}
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := c.Call(ctx, "slow", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("slow: %v", err)
	}
	<-ended
	if raw, err := c.Call(t.Context(), "quick", nil, nil); err != nil || string(raw) != "1" {
		t.Errorf("quick: %s, %v", raw, err)
	}
}

// TestEnd proves that an ending server finishes what it began and refuses the rest.
func TestEnd(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	c, s, dir := start(t, handler{call: func(context.Context, string, json.RawMessage, func(Progress)) (any, error) {
		close(begun)
		<-release
		return "done", nil
	}})
	type reply struct {
		raw json.RawMessage
		err error
	}
	first := make(chan reply)
	go func() { raw, err := c.Call(context.Background(), "slow", nil, nil); first <- reply{raw, err} }()
	<-begun
	s.End()
	if _, err := c.Call(t.Context(), "late", nil, nil); !errors.Is(err, ErrEnding) {
		t.Errorf("late: %v", err)
	}
	if err := c.Stream(t.Context(), "late", nil, io.Discard); !errors.Is(err, ErrEnding) {
		t.Errorf("late stream: %v", err)
	}
	d, err := Dial(t.Context(), dir)
	if err != nil || !d.Info().Ending {
		t.Errorf("dial an ending server: %v", err)
	}
	d.Close()
	close(release)
	if r := <-first; r.err != nil || string(r.raw) != `"done"` {
		t.Errorf("first: %s, %v", r.raw, r.err)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, SocketName)); !os.IsNotExist(err) {
		t.Errorf("socket after Close: %v", err)
	}
	if _, err := Dial(t.Context(), dir); !errors.Is(err, errs.NotFound) {
		t.Errorf("dial after Close: %v", err)
	}
}

// TestStaleAndLong: a socket that nobody listens on is not a daemon and is replaced; so is a directory deeper than sun_path.
func TestStaleAndLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-name/", 20))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: nameIn(d, SocketName)}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	_ = syscall.Close(fd)
	if _, err := Dial(t.Context(), dir); !errors.Is(err, errs.NotFound) {
		t.Fatalf("dial a stale socket: %v", err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, handler{}, Info{}, nil)
	defer s.Close()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestHostileServer: garbage from the socket is an error, never a wait or a panic.
func TestHostileServer(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing": "", "not-http": "hello\n", "no-json": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"other-protocol": "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"protocol\":99}", "500": "HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 4096))
					_, _ = io.WriteString(c, answer)
					_ = c.Close()
				}
			}()
			if _, err := Dial(t.Context(), dir); err == nil {
				t.Error("no error")
			}
			_ = l.Close()
			<-done
		})
	}
}

func TestBadRequests(t *testing.T) {
	_, _, dir := start(t, handler{})
	for _, body := range []string{"", "{", "[]", `{"verb":1}`, `{"verb":"a"}{"verb":"b"}`} {
		c, err := dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v1/call HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Contains(got, []byte(`"class":"usage"`)) {
			t.Errorf("body %q: %q, %v", body, got, err)
		}
		_ = c.Close()
	}
}

func TestClasses(t *testing.T) {
	for _, c := range classes {
		e := NewError(fmt.Errorf("do it: %w", c.err))
		if e.Class != c.name || !errors.Is(e, c.err) {
			t.Errorf("%s: class %s, %v", c.name, e.Class, e)
		}
	}
	for err, want := range map[error]string{
		syscall.ENOSPC: "no-space", &os.PathError{Err: syscall.EACCES}: "permission", errors.New("x"): "failed", Usagef("a"): "usage",
		&net.OpError{Err: syscall.ECONNREFUSED}: "failed",
	} {
		if got := Class(err); got != want {
			t.Errorf("Class(%v) = %s, want %s", err, got, want)
		}
	}
	if !errors.Is(Usagef("x"), errs.Invalid) {
		t.Error("usage is not errs.Invalid")
	}
	if got := OneLine(" a\nb\tc\x1b[1m "); got != "a b c [1m" {
		t.Errorf("OneLine: %q", got)
	}
}
