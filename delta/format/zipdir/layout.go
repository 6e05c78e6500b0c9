package zipdir

// The parts of a ZIP file that are read here, little endian (APPNOTE 6.3.10).
//
// End record, 22 bytes, then the comment:
//
//	0  4  PK\5\6
//	10 2  entries in all         0xffff: see the zip64 end record
//	12 4  directory size         0xffffffff: likewise
//	16 4  directory offset       0xffffffff: likewise
//	20 2  comment length
//
// Zip64 locator, 20 bytes, right before the end record:
//
//	0  4  PK\6\7
//	8  8  offset of the zip64 end record
//
// Zip64 end record, 56 bytes:
//
//	0  4  PK\6\6
//	32 8  entries in all
//	40 8  directory size
//	48 8  directory offset
//
// Directory entry, 46 bytes, then name, extra fields, comment:
//
//	0  4  PK\1\2
//	8  2  flags
//	10 2  method
//	20 4  stored size            0xffffffff: in the zip64 extra field, as the two below
//	24 4  size
//	28 2  name length
//	30 2  extra length
//	32 2  comment length
//	42 4  local header offset
//
// Local header, 30 bytes, then name, extra fields, data:
//
//	0  4  PK\3\4
//	26 2  name length
//	28 2  extra length
const (
	endSize       = 22
	locatorSize   = 20
	end64Size     = 56
	entrySize     = 46
	localSize     = 30
	maxComment    = 1<<16 - 1
	zip64Field    = 0x0001
	flagEncrypted = 1

	sigLocal   = 0x04034b50
	sigEntry   = 0x02014b50
	sigEnd     = 0x06054b50
	sigEnd64   = 0x06064b50
	sigLocator = 0x07064b50
)

// MaxDirectory is the largest directory that is read.
const MaxDirectory = 100 << 20
