package torchzip

import (
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/zipdir"
)

// archive is one ZIP archive with a data.pkl.
type archive struct {
	dir *zipdir.Dir
	top string // X/: what all names begin with
}

// newArchive returns nil if dir is not torch's.
func newArchive(dir *zipdir.Dir) *archive {
	for _, mark := range []string{"/data.pkl", "/.data/version"} { // the latter in a torch.package, whose pickles have any name
		for i := range dir.Entries {
			if top, ok := strings.CutSuffix(dir.Entries[i].Name, mark); ok && !strings.Contains(top, "/") {
				return &archive{dir: dir, top: top + "/"}
			}
		}
	}
	return nil
}

// prefix is what the names of archive i of n begin with; folder is that of a pickle of it, "data" of most.
func (a *archive) prefix(i, n int, pickle *zipdir.Entry) string {
	prefix := ""
	if n > 1 {
		prefix = strconv.Itoa(i) + "."
	}
	if pickle == nil {
		return prefix
	}
	if folder := a.folder(pickle); folder != "data" { // those of data.pkl, which every archive has, begin with nothing more
		prefix += folder + "."
	}
	return prefix
}

// folder is the name of a pickle without X/ and .pkl: where its storages are, in most files.
func (a *archive) folder(pickle *zipdir.Entry) string {
	return strings.TrimSuffix(strings.TrimPrefix(pickle.Name, a.top), ".pkl")
}

// isStorage reports whether an entry of this name, without X/, holds a storage: data/0, constants/0, or .data/0.storage.
func isStorage(name string) bool {
	dir, key, ok := strings.Cut(name, "/")
	if !ok || key == "" || strings.Contains(key, "/") {
		return false
	}
	return dir == "data" || dir == "constants" || dir == ".data" && strings.HasSuffix(key, ".storage")
}

// index sorts the stored entries by what they are.
func (a *archive) index() *content {
	c := &content{storages: map[string]*storage{}}
	for i := range a.dir.Entries {
		e := &a.dir.Entries[i]
		name, ok := strings.CutPrefix(e.Name, a.top)
		if !ok || !e.Stored() {
			continue
		}
		switch {
		case isStorage(name):
			s := &storage{entry: e, name: format.CleanName(name)}
			c.storages[name] = s
			c.order = append(c.order, s)
		case strings.HasSuffix(name, ".pkl"):
			c.pickles = append(c.pickles, e)
		case name == "byteorder":
			c.byteorder = e
		}
	}
	return c
}

// content is what an archive holds.
type content struct {
	storages  map[string]*storage // by name without X/
	order     []*storage          // in file order
	pickles   []*zipdir.Entry
	byteorder *zipdir.Entry
}

// storage returns the entry of the storage that a pickle X/folder.pkl calls key, or nil.
func (c *content) storage(folder, key string) *storage {
	if s := c.storages[folder+"/"+key]; s != nil {
		return s
	}
	if s := c.storages[".data/"+key+".storage"]; s != nil {
		return s // of a torch.package
	}
	return c.storages["constants/"+key] // of a mobile model: bytecode.pkl shares those of constants.pkl
}
