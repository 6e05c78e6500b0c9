package fs

import (
	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// What is implemented, so that a changed signature is a compile error and not an operation that is missing.
//
// Left out on purpose, with what a program gets: Access (the kernel checks permissions: default_permissions), Getlk, Setlk
// and Setlkw (the kernel keeps locks itself), Ioctl (ENOTTY), Statx (the kernel uses stat), LookupNode (ESTALE: no NFS export).
var (
	_ fuse.RawFileSystem     = (*kernel)(nil)
	_ fusefs.ServerCallbacks = (*kernel)(nil)

	_ interface {
		fusefs.NodeLookuper
		fusefs.NodeGetattrer
		fusefs.NodeSetattrer
		fusefs.NodeOpendirHandler
		fusefs.NodeMkdirer
		fusefs.NodeMknoder
		fusefs.NodeSymlinker
		fusefs.NodeLinker
		fusefs.NodeUnlinker
		fusefs.NodeRmdirer
		fusefs.NodeRenamer
		fusefs.NodeReadlinker
		fusefs.NodeCreater
		fusefs.NodeTmpfiler
		fusefs.NodeOpener
		fusefs.NodeFsyncer
		fusefs.NodeGetxattrer
		fusefs.NodeListxattrer
		fusefs.NodeSetxattrer
		fusefs.NodeRemovexattrer
		fusefs.NodeStatfser
		fusefs.NodeCopyFileRanger
		fusefs.NodeOnForgetter
	} = (*liveNode)(nil)

	_ interface {
		fusefs.FilePassthroughFder
		fusefs.FileReader
		fusefs.FileWriter
		fusefs.FileFlusher
		fusefs.FileAllocater
		fusefs.FileLseeker
		fusefs.FileReleaser
	} = (*liveHandle)(nil)

	_ readOnlyFile = (*fileNode)(nil)
	_ readHandle   = (*fileHandle)(nil)

	_ readOnlyDir = (*rootNode)(nil)
	_ readOnlyDir = (*treeNode)(nil)
	_ readOnlyDir = (*refDir)(nil)
	_ readOnlyDir = (*commitsNode)(nil)
	_ readOnlyDir = (*historyNode)(nil)
	_ readOnlyDir = (*controlDir)(nil)
	_ readOnlyDir = (*nameDir)(nil)
	_ readOnlyDir = (*viewRefs)(nil)
	_ readOnlyDir = (*viewCommits)(nil)
	_ readOnlyDir = (*viewDir)(nil)

	_ viewSource = (*commitView)(nil)
	_ viewSource = (*liveView)(nil)

	_ readOnlyFile = (*viewFile)(nil)
	_ readOnlyFile = (*viewLive)(nil)

	_ readHandle = (*viewHandle)(nil)
	_ readHandle = (*viewLiveHandle)(nil)

	_ fusefs.NodeReadlinker = (*headNode)(nil)
	_ fusefs.NodeReadlinker = (*linkNode)(nil)

	_ interface {
		fusefs.FilePassthroughFder
		fusefs.FileReader
		fusefs.FileWriter
	} = (*controlHandle)(nil)

	_ interface {
		fusefs.FilePassthroughFder
		fusefs.FileReader
	} = (*textHandle)(nil)

	_ interface {
		fusefs.FileReaddirenter
		fusefs.FileSeekdirer
		fusefs.FileReleasedirer
	} = (*dirHandle)(nil)

	_ fusefs.FileLookuper = plainDir{}
)

// readOnlyDir is what a directory has that is not a live one: every change has to be refused by name, since the library
// takes a missing Unlink or Rmdir for success.
type readOnlyDir interface {
	fusefs.NodeLookuper
	fusefs.NodeGetattrer
	fusefs.NodeSetattrer
	fusefs.NodeOpendirHandler
	fusefs.NodeMkdirer
	fusefs.NodeMknoder
	fusefs.NodeCreater
	fusefs.NodeTmpfiler
	fusefs.NodeSymlinker
	fusefs.NodeLinker
	fusefs.NodeUnlinker
	fusefs.NodeRmdirer
	fusefs.NodeRenamer
	fusefs.NodeSetxattrer
	fusefs.NodeRemovexattrer
	fusefs.NodeFsyncer
	fusefs.NodeStatfser
}

// readOnlyFile is what a regular file has that is not a live one.
type readOnlyFile interface {
	fusefs.NodeGetattrer
	fusefs.NodeSetattrer
	fusefs.NodeOpener
	fusefs.NodeFsyncer
	fusefs.NodeGetxattrer
	fusefs.NodeListxattrer
	fusefs.NodeSetxattrer
	fusefs.NodeRemovexattrer
	fusefs.NodeStatfser
}

// readHandle is what a handle of one has.
type readHandle interface {
	fusefs.FilePassthroughFder
	fusefs.FileReader
	fusefs.FileReleaser
}
