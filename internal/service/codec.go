package service

import (
	"context"
	"fmt"

	"coral/internal/control"
	"coral/vcs"
)

// Codec is the name of how tensors are coded: a flag and a JSON string; "" is not given.
type Codec string

// String implements pflag.Value.
func (c *Codec) String() string { return string(*c) }

// Type implements pflag.Value.
func (c *Codec) Type() string { return "name" }

// Set implements pflag.Value.
func (c *Codec) Set(s string) error {
	if _, err := vcs.ParseCodec(s); err != nil {
		return err
	}
	*c = Codec(s)
	return nil
}

// Check reports a name that there is not, as wrong usage.
func (c Codec) Check() error {
	if _, err := vcs.ParseCodec(string(c)); err != nil {
		return control.Usagef("%v", err)
	}
	return nil
}

// SetCodec changes how files are coded from now on. It waits for an `add --codec` in work.
func (s *Service) SetCodec(ctx context.Context, c Codec) error {
	_, release, err := s.swapCodec(ctx, c)
	if err == nil {
		release()
	}
	return err
}

// useCodec changes how files are coded until release is called, also those that others bring meanwhile.
func (s *Service) useCodec(ctx context.Context, c Codec) (release func(), err error) {
	was, unlock, err := s.swapCodec(ctx, c)
	if err != nil {
		return nil, err
	}
	return func() {
		s.repo.Content.SetStrategy(was)
		unlock()
	}, nil
}

func (s *Service) swapCodec(ctx context.Context, c Codec) (was vcs.Codec, unlock func(), err error) {
	to, err := vcs.ParseCodec(string(c))
	if err != nil {
		return was, nil, control.Usagef("%v", err)
	}
	if err := s.codecs.Acquire(ctx, 1); err != nil {
		return was, nil, fmt.Errorf("wait for another command with --codec: %w", err)
	}
	return s.repo.Content.SetStrategy(to), func() { s.codecs.Release(1) }, nil
}
