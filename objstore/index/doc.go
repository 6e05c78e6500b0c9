// Package index is the bbolt database that finds records: id → pack, offset, sizes, base; and with it the table
// of packs and the hints of the content store. Everything but the hints can be rebuilt from the packs.
//
// bbolt maps its file and trusts it: damage may send it round in circles, panic in a goroutine of its own, or return wrong bytes. So
// Open walks every reachable page first (check.go) and compares a digest of all records, which makes damage of a file at rest
// an errs.Corrupt; every value carries a checksum over its key too; and panics or faults from damage that comes
// later are turned into errors, after which the DB refuses everything.
//
// A DB may be used by any number of goroutines; write transactions queue. docs/format-packs.md has every byte.
package index
