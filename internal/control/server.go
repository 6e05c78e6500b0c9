package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// Server answers requests on a listener. Make it with Serve; Close it.
type Server struct {
	handler Handler
	logger  *slog.Logger
	http    http.Server
	served  chan struct{} // closed when http.Serve has returned

	mu     sync.Mutex
	info   Info
	active sync.WaitGroup // requests in work; Add only under mu and while !info.Ending
}

// Serve answers on l, which it owns, until Close. A nil logger is silent.
func Serve(l net.Listener, h Handler, info Info, logger *slog.Logger) *Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	info.Protocol = Protocol
	s := &Server{handler: h, logger: logger, info: info, served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ping", s.ping)
	mux.HandleFunc("POST /v1/call", s.call)
	mux.HandleFunc("POST /v1/stream", s.stream)
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			logger.Error("control socket", "err", err)
		}
	}()
	return s
}

// End makes the server refuse requests that come from now on (ErrEnding).
func (s *Server) End() {
	s.mu.Lock()
	s.info.Ending = true
	s.mu.Unlock()
}

// Wait returns when no request is in work. Call End first.
func (s *Server) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.active.Wait(); close(done) }() // ends with the last request; Close cancels them all
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops listening, removes the socket, cancels what is in work and waits for it.
func (s *Server) Close() error {
	s.End()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := s.http.Shutdown(ctx) // lets replies that are being written out
	if err != nil {
		err = s.http.Close()
	}
	<-s.served
	s.active.Wait()
	return err
}

// begin counts a request in, unless the server is ending.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info.Ending {
		return false
	}
	s.active.Add(1)
	return true
}

func (s *Server) ping(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	info := s.info
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(info)
}

func readCall(w http.ResponseWriter, r *http.Request) (c call, err error) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	if err := d.Decode(&c); err != nil {
		return c, Usagef("control request: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, Usagef("control request: more than one JSON value")
	}
	return c, nil
}

func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := newLines(w)
	if !s.begin() {
		out.finish(nil, ErrEnding)
		return
	}
	defer s.active.Done()
	c, err := readCall(w, r)
	if err != nil {
		out.finish(nil, err)
		return
	}
	start := time.Now()
	result, err := s.protect(func() (any, error) { return s.handler.Call(r.Context(), c.Verb, c.Request, out.progress) })
	s.log(c.Verb, start, err)
	out.finish(result, err)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", trailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	err := error(ErrEnding)
	if s.begin() {
		defer s.active.Done()
		var c call
		if c, err = readCall(w, r); err == nil {
			start := time.Now()
			buf := bufio.NewWriterSize(w, 64<<10)
			_, err = s.protect(func() (any, error) { return nil, s.handler.Stream(r.Context(), c.Verb, c.Request, buf) })
			if err == nil {
				err = buf.Flush()
			}
			s.log(c.Verb, start, err)
		}
	}
	outcome := ""
	if err != nil {
		b, _ := json.Marshal(NewError(err)) // two strings: cannot fail
		outcome = string(b)
	}
	_ = http.NewResponseController(w).Flush() // an empty stream must be chunked too, to have a trailer
	w.Header().Set(trailer, outcome)
}

// protect turns a panic of a handler into an error: one bad request must not end the mounts of all others.
func (s *Server) protect(fn func() (any, error)) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.logger.Error("panic in a control request", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v: the daemon's log has the stack", p)
		}
	}()
	return fn()
}

func (s *Server) log(verb string, start time.Time, err error) {
	dur := time.Since(start).Round(time.Millisecond)
	if err != nil {
		s.logger.Warn("command failed", "op", verb, "dur", dur, "err", OneLine(err.Error()))
		return
	}
	s.logger.Info("command", "op", verb, "dur", dur)
}

// lines writes a reply. Progress never waits for the client: a goroutine writes the latest state, at most ten a second.
type lines struct {
	w    http.ResponseWriter
	enc  *json.Encoder
	wake chan struct{}
	stop chan struct{} // closed by finish
	done chan struct{} // closed when the goroutine has ended; nil if it was not started

	mu     sync.Mutex
	latest *Progress
	closed bool
}

func newLines(w http.ResponseWriter) *lines {
	return &lines{w: w, enc: json.NewEncoder(w), wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

const progressEvery = 100 * time.Millisecond

func (l *lines) progress(p Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.latest = &p
	if l.done == nil {
		l.done = make(chan struct{})
		go l.run()
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lines) run() {
	defer close(l.done)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for range l.wake { // closed by finish
		l.mu.Lock()
		p := l.latest
		l.latest = nil
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return
		}
		if p == nil {
			continue
		}
		if l.enc.Encode(line{Progress: p}) != nil {
			continue // the client is gone; its context says so to the handler
		}
		_ = http.NewResponseController(l.w).Flush()
		select {
		case <-tick.C:
		case <-l.stop: // the result must not wait
		}
	}
}

// finish ends the goroutine and writes the last line.
func (l *lines) finish(result any, err error) {
	l.mu.Lock()
	l.closed = true
	close(l.wake)
	close(l.stop)
	done := l.done
	l.mu.Unlock()
	if done != nil {
		<-done
	}
	out := line{}
	if err == nil {
		out.Result, err = json.Marshal(result)
	}
	if err != nil {
		out = line{Error: NewError(err)}
	}
	_ = l.enc.Encode(out) // a client that is gone does not want it
}
