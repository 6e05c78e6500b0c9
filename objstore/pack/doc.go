// Package pack reads and writes pack files: many immutable frames, one record each, appended to one file.
//
// A frame is a header of HeaderSize bytes and a payload. The header's checksum is seeded by the pack's random salt
// and the frame's own offset, so bytes inside a payload that happen to look like a frame (somebody stores a pack
// file in Coral) are never taken for one when a damaged pack is scanned. A full pack is sealed with a directory of
// its frames and a trailer. docs/format-packs.md has every byte.
//
// A Writer is used by one goroutine at a time, a Reader by any number. Nothing here knows the index, codecs or refs.
package pack
