package safetensors

import (
	"io"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// maxMetadata bounds the bytes of keys and values that Metadata returns.
const maxMetadata = 1 << 20

// Metadata returns the __metadata__ of a file that Parse has accepted; nil if it has none. Values that are no strings, which the library
// refuses too, and more than 1 MiB in all are format.ErrDamaged.
func Metadata(r io.ReaderAt, size int64) (map[string]string, error) {
	s := scan.New(r, 0, min(size, prefix))
	n := s.U64()
	if s.Err() != nil || n > format.MaxHeader || n > uint64(size-prefix) {
		return nil, s.UnknownOr()
	}
	s.Reset(prefix, prefix+int64(n))
	j := &jsonReader{s}
	var out map[string]string
	total := 0
	err := j.object(func(key string) error {
		if key != metadataKey {
			return j.skip()
		}
		out = map[string]string{}
		return j.object(func(key string) error {
			v, err := j.text(maxMetadata)
			if total += len(key) + len(v); err == nil && total > maxMetadata {
				return j.damaged("metadata of more than %d bytes", maxMetadata)
			}
			out[key] = v
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
