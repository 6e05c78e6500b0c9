// Package torchzip cuts what torch.save and torch.jit.save write since torch 1.6: a ZIP file with stored entries.
//
//	X/data.pkl         the object; its storages are the entries X/data/<key>
//	X/constants.pkl    TorchScript only; its storages are X/constants/<key>
//	X/byteorder        "little" or "big"; missing in old files
//	X/.data/<key>.storage   torch.package only; any pickle of the archive may refer to it
//
// Each storage is a payload, named by the dotted path of a tensor in it, or by its entry without X/ if no tensor was
// recognised. Everything else, deflated entries too, lies between the payloads. A file may be several
// archives one behind the other (torch.distributed.checkpoint's .distcp): names then begin with the archive's number.
package torchzip

import (
	"io"

	"coral/delta/format"
)

// Parser is the format.Parser of torch's ZIP files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return format.TorchZip }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }
