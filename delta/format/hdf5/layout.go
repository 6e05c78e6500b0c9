package hdf5

// The structures that are read here, little endian, after the HDF5 File Format Specification 3.0 (and 4.0 for layouts of version 5). An
// address (A) has 2, 4 or 8 bytes, a length (L) likewise, as the superblock says; addresses count from the superblock's base
// address, and all ones means none.
//
// Superblock, at byte 0, 512, 1024 or 2048 of the file:
//
//	0 8 signature; 8 1 version
//	version 0, 1: 13 1 size of A; 14 1 size of L; 24 (1: 28) A base, A free space, A end, A driver, then the root's symbol table entry
//	version 2, 3: 9 1 size of A; 10 1 size of L; 12 A base, A extension, A end, A root's header
//
// Symbol table entry: A name in the local heap, A object header, 4 cache type, 4 reserved, 16 scratch
//
// Object header, version 1: 1 version, 1 reserved, 2 messages, 4 references, 4 size, 4 padding, then size bytes of messages, each
// 2 type, 2 size, 1 flags, 3 reserved, data.
//
// Object header, version 2: OHDR, 1 version, 1 flags, 16 times if flag 5, 4 phase change values if flag 4, 1<<(flags&3) size, then size bytes of
// messages, each 1 type, 2 size, 1 flags, 2 order if flag 2, data; 4 checksum. A continuation block is OCHK, messages, 4 checksum; in
// version 1 messages alone.
//
// B-tree version 1: TREE, 1 type, 1 level, 2 entries, A left, A right, then key, A child, …, key. Of groups a key is L; of chunks 4 size, 4 filter
// mask, 8 for each dimension and for the element. Symbol table node: SNOD, 1 version, 1 reserved, 2 entries, symbol table entries.
// Local heap: HEAP, 1 version, 3 reserved, L size, L free, A data.
const (
	sigSuper      = "\x89HDF\r\n\x1a\n"
	sigHeader     = "OHDR"
	sigContinue   = "OCHK"
	sigTree       = "TREE"
	sigNode       = "SNOD"
	sigLocalHeap  = "HEAP"
	sigHeap       = "FRHP"
	sigDirect     = "FHDB"
	sigIndirect   = "FHIB"
	sigTree2      = "BTHD"
	sigInner2     = "BTIN"
	sigLeaf2      = "BTLF"
	sigArray      = "FAHD"
	sigArrayBlock = "FADB"
)

// Messages of object headers that are looked at.
const (
	msgDataspace = 0x01
	msgLinkInfo  = 0x02
	msgDatatype  = 0x03
	msgLink      = 0x06
	msgExternal  = 0x07
	msgLayout    = 0x08
	msgFilters   = 0x0b
	msgContinue  = 0x10
	msgSymbols   = 0x11
)

// Bounds.
const (
	maxMetadata  = 100 << 20 // bytes of metadata of one file, each read counting for leastRead at least
	leastRead    = 128
	maxBlock     = 16 << 20 // of a block of a header, heap or tree
	maxContinues = 4096     // continuation blocks of one header
	maxUserBlock = 2048
)
