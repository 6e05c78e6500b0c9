package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// pingTimeout bounds the wait for a daemon that listens and does not answer.
const pingTimeout = 10 * time.Second

// Client talks to one daemon. Close it. Safe for concurrent use.
type Client struct {
	http http.Client
	tr   *http.Transport
	info Info
}

// Dial connects to the daemon that serves dir (a .coral directory). errs.NotFound: there is none.
func Dial(ctx context.Context, dir string) (*Client, error) {
	tr := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dir) },
		MaxIdleConns:    2,
		IdleConnTimeout: time.Minute,
	}
	c := &Client{http: http.Client{Transport: tr}, tr: tr}
	pingCtx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	resp, err := c.do(pingCtx, http.MethodGet, "/v1/ping", nil)
	if err != nil {
		c.Close()
		if pingCtx.Err() != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("the daemon of %s has not answered for %s: %w", dir, pingTimeout, errs.Busy)
		}
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRequest)).Decode(&c.info); err != nil {
		c.Close()
		return nil, fmt.Errorf("ping the daemon: %w", gone(err))
	}
	if c.info.Protocol != Protocol {
		c.Close()
		return nil, fmt.Errorf("daemon %d (version %s) speaks control protocol %d, this coral %d: %w", c.info.PID, c.info.Version, c.info.Protocol, Protocol, errs.Unsupported)
	}
	return c, nil
}

// Info returns what the daemon said of itself at Dial.
func (c *Client) Info() Info { return c.info }

// Close drops the connections.
func (c *Client) Close() { c.tr.CloseIdleConnections() }

// Call runs verb with req (any value that becomes the JSON the verb expects) and returns its result. progress may be nil.
func (c *Client) Call(ctx context.Context, verb string, req any, progress func(Progress)) (json.RawMessage, error) {
	resp, err := c.post(ctx, "/v1/call", verb, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(io.LimitReader(resp.Body, maxResponse))
	for {
		var l line
		if err := d.Decode(&l); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%s: %w", verb, gone(err))
		}
		switch {
		case l.Error != nil:
			return nil, l.Error
		case l.Progress != nil:
			if progress != nil {
				progress(*l.Progress)
			}
		default:
			return l.Result, nil
		}
	}
}

// Stream runs verb and copies the bytes it gives to w. Only a nil error means that they were all.
func (c *Client) Stream(ctx context.Context, verb string, req any, w io.Writer) error {
	resp, err := c.post(ctx, "/v1/stream", verb, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: %w", verb, gone(err))
		}
	}
	if len(resp.Trailer[trailer]) == 0 {
		return fmt.Errorf("%s: %w", verb, ErrGone)
	}
	if s := resp.Trailer.Get(trailer); s != "" {
		e := &Error{}
		if err := json.Unmarshal([]byte(s), e); err != nil {
			return fmt.Errorf("%s: %s", verb, OneLine(s))
		}
		return e
	}
	return nil
}

func (c *Client) post(ctx context.Context, path, verb string, req any) (*http.Response, error) {
	raw, err := Marshal(verb, req)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(call{Verb: verb, Request: raw})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	if len(body) > maxRequest {
		return nil, fmt.Errorf("%s: request of %d bytes: %w", verb, len(body), errs.TooLarge)
	}
	return c.do(ctx, http.MethodPost, path, body)
}

// Marshal makes a request's JSON. A string in it that JSON would change, as it is not UTF-8, is errs.Invalid: it names something else then.
func Marshal(verb string, req any) (json.RawMessage, error) {
	raw, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	if lossy(raw) {
		return nil, fmt.Errorf("%s: a name that is not UTF-8: %w", verb, errs.Invalid)
	}
	return raw, nil
}

// lossy reports whether json.Marshal has replaced a byte: only then does it write an escaped U+FFFD. Text has none.
func lossy(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] == '\\' {
			if bytes.HasPrefix(raw[i:], []byte(`\ufffd`)) {
				return true
			}
			i++
		}
	}
	return false
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://coral"+path, r)
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // never sent twice behind our back: a verb may not be idempotent
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, gone(cause(err))
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("daemon answered %s to %s: %w", resp.Status, path, errs.Unsupported)
	}
	return resp, nil
}

// gone adds ErrGone to what reading and writing report when the other side went away.
func gone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isAny(err, unix.ECONNRESET, unix.EPIPE) {
		return ErrGone
	}
	return err
}

// cause strips net's and net/http's wrapping ("Post http://coral/…: dial unix …"), which says nothing to a user.
func cause(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if o := (*net.OpError)(nil); errors.As(err, &o) && !errors.Is(err, errs.NotFound) {
		err = o.Err
	}
	return err
}

func isAny(err error, list ...unix.Errno) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
