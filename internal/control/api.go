// Package control is the line between coral commands and the daemon of a repository: HTTP with JSON bodies over
// the Unix socket .coral/daemon.sock (mode 0600, and only the same user or root is served).
//
// A request is a verb and its typed request as JSON. The answer of /v1/call is a stream of lines, one JSON object
// each: any number of {"progress": …}, then exactly one {"result": …} or {"error": {"class", "message"}}. The answer
// of /v1/stream is raw bytes, its outcome in a trailer. What verbs mean is the business of the Handler.
//
// A Server runs each request in a goroutine of its own; the Handler must be safe for that. A client that goes away
// cancels the context of its request: handlers look at it between steps and never leave a step half done.
package control

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// SocketName is the socket's file name in the .coral directory.
const SocketName = "daemon.sock"

// Protocol is the version of this protocol. A client refuses a daemon of another one.
const Protocol = 1

// Limits on what either side reads before it has checked anything.
const (
	maxRequest  = 16 << 20 // bytes of a request body: `add` of some 100,000 paths fits
	maxResponse = 1 << 30  // bytes of a reply: `show` of some millions of files fits
)

// Progress is a state of long work. Fields that make no sense for the work are zero.
type Progress struct {
	Step  string `json:"step"`            // "ingest", "export", "check", "drain" …
	Done  int64  `json:"done"`            // of Total, in Unit
	Total int64  `json:"total,omitempty"` // 0 if not known
	Unit  string `json:"unit,omitempty"`  // "bytes" or a noun
	Files int    `json:"files,omitempty"` // done, or waiting where Step says so
	What  string `json:"what,omitempty"`  // the object in work
}

// Handler does the work of a Server. Both methods are called concurrently.
type Handler interface {
	// Call runs verb and returns its result, which is sent as JSON. progress may be called from any goroutine
	// until Call returns; it never blocks.
	Call(ctx context.Context, verb string, req json.RawMessage, progress func(Progress)) (any, error)
	// Stream runs a verb whose result is raw bytes.
	Stream(ctx context.Context, verb string, req json.RawMessage, w io.Writer) error
}

// Info is what a daemon says of itself: the answer of /v1/ping and part of `coral status`.
type Info struct {
	Protocol int       `json:"protocol"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Version  string    `json:"version"`
	Ending   bool      `json:"ending,omitempty"` // it takes no more requests
}

// call is the body of a request.
type call struct {
	Verb    string          `json:"verb"`
	Request json.RawMessage `json:"request,omitempty"`
}

// line is one line of a reply. Exactly one field is set.
type line struct {
	Progress *Progress       `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

// trailer carries the outcome of a stream: empty, or an Error as JSON.
const trailer = "Coral-Error"
