package service

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

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
		if v, req, err = ParseLine(line); err == nil {
			result, err = s.do(ctx, v, req, nil)
		}
	}()
	if err == nil {
		if reply, err = json.Marshal(result); err == nil {
			s.log.Info("control file", "line", control.OneLine(line))
			return reply, nil
		}
	}
	s.log.Warn("control file", "line", control.OneLine(line), "err", control.OneLine(err.Error()))
	return ErrorJSON(err), err
}

// ErrorJSON is the form of an error in replies and in the output of --json.
func ErrorJSON(err error) []byte {
	b, _ := json.Marshal(struct { // strings only: cannot fail
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
	b, err := json.Marshal(r)
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
