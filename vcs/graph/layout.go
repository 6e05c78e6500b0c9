package graph

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/cespare/xxhash/v2"

	"coral/internal/oid"
)

// The file: the magic, then records one after the other, little endian:
//
//	 0  32    commit id
//	32   8    time, nanoseconds since 1970
//	40   1    n, number of parents
//	41  32n   parents
//	 …   8    xxHash64 of the record before
//
// It is never synced: the first record that is not whole ends the file.
const (
	magic      = "CORALCG\x01"
	headLen    = len(oid.ID{}) + 8 + 1
	maxParents = 255
)

func appendRecord(b []byte, id oid.ID, n Node) []byte {
	at := len(b)
	b = append(b, id[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.Time))
	b = append(b, byte(len(n.Parents)))
	for _, p := range n.Parents {
		b = append(b, p[:]...)
	}
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b[at:]))
}

// load reads records until one is not whole, and returns where the valid part ends: 0 if not even the magic is right.
func (g *Graph) load(r io.Reader) (end int64, err error) {
	br := bufio.NewReaderSize(r, 1<<20)
	var head [len(magic)]byte
	if _, err := io.ReadFull(br, head[:]); err != nil || string(head[:]) != magic {
		return 0, ignoreEOF(err)
	}
	end = int64(len(magic))
	var buf [headLen + maxParents*len(oid.ID{}) + 8]byte
	for {
		if _, err := io.ReadFull(br, buf[:headLen]); err != nil {
			return end, ignoreEOF(err)
		}
		parents := int(buf[headLen-1])
		n := headLen + parents*len(oid.ID{})
		if _, err := io.ReadFull(br, buf[headLen:n+8]); err != nil {
			return end, ignoreEOF(err)
		}
		if xxhash.Sum64(buf[:n]) != binary.LittleEndian.Uint64(buf[n:]) {
			return end, nil
		}
		node := Node{Time: int64(binary.LittleEndian.Uint64(buf[len(oid.ID{}):]))}
		if parents > 0 {
			node.Parents = make([]oid.ID, parents)
		}
		for i := range node.Parents {
			copy(node.Parents[i][:], buf[headLen+i*len(oid.ID{}):])
		}
		g.nodes[oid.ID(buf[:len(oid.ID{})])] = node
		end += int64(n + 8)
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
