package service

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"

	"coral/fs"
	"coral/internal/control"
)

var _ fs.Controller = (*Service)(nil)

// Run implements fs.Controller: one line of the control file.
func (s *Service) Run(ctx context.Context, line string) (reply []byte, err error) {
	var result any
	func() {
		defer func() { // a panic here would be the kernel's request's, and the next line's too
			if p := recover(); p != nil {
				s.log.Error("panic in a control file command", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = fmt.Errorf("internal error: %v: the daemon's log has the stack", p)
			}
		}()
		var v *Verb
		var req Request
		if v, req, err = ParseLine(line, s.opts.settings); err == nil {
			result, err = s.do(ctx, v, req, nil)
		}
	}()
	if bad, ok := result.(interface{ Err() error }); ok && err == nil && bad.Err() != nil { // the reply says more than the error
		reply, merr := MarshalJSON(result)
		s.log.Warn("control file", "line", control.OneLine(line), "err", control.OneLine(bad.Err().Error()))
		return reply, cmp.Or(merr, bad.Err())
	}
	if err == nil {
		if reply, err = MarshalJSON(result); err == nil {
			s.log.Info("control file", "line", control.OneLine(line))
			return reply, nil
		}
	}
	s.log.Warn("control file", "line", control.OneLine(line), "err", control.OneLine(err.Error()))
	return ErrorJSON(err), err
}

// MarshalJSON is json.Marshal without its escapes for HTML: people read these lines, and no browser does.
func MarshalJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return PlainJSON(b), err
}

// PlainJSON undoes json.Marshal's escapes of < > &, in place.
func PlainJSON(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		if i+6 <= len(b) {
			switch string(b[i : i+6]) {
			case `\u003c`, `\u003e`, `\u0026`:
				out = append(out, "<>&"[strings.IndexByte("ce6", b[i+5])])
				i += 5
				continue
			}
		}
		out = append(out, b[i], b[i+1]) // an escaped backslash must not begin another escape
		i++
	}
	return out
}

// ErrorJSON is the form of an error in replies and in the output of --json.
func ErrorJSON(err error) []byte {
	b, _ := MarshalJSON(struct { // strings only: cannot fail
		Error *control.Error `json:"error"`
	}{control.NewError(err)})
	return b
}

// Status implements fs.Controller: the reply to "status".
func (s *Service) Status(ctx context.Context) []byte {
	r, err := s.do(ctx, Find("status"), new(StatusRequest), nil)
	if err != nil {
		return append(ErrorJSON(err), '\n')
	}
	b, err := MarshalJSON(r)
	if err != nil {
		return append(ErrorJSON(err), '\n')
	}
	return append(b, '\n')
}

// Log implements fs.Controller: the daemon's recent lines.
func (s *Service) Log(context.Context) []byte {
	if s.opts.Lines == nil {
		return nil
	}
	return s.opts.Lines()
}
