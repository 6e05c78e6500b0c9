package cache

import (
	"path/filepath"
	"sync"
)

// The open caches of this process by directory. A process may mount a repository several times; two Files on one
// directory would remove each other's half-written files and each fill the quota.
var (
	sharedMu sync.Mutex
	shared   = map[string]*sharedFiles{}
)

type sharedFiles struct {
	files *Files
	users int
}

// Share is Open for a directory that others in this process may have open too: they all get the same Files, with the quota
// of the first. It is closed when every release was called; calling one again does nothing.
func Share(dir string, quota int64) (c *Files, release func() error, err error) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	sharedMu.Lock()
	defer sharedMu.Unlock()
	s := shared[dir]
	if s == nil {
		files, err := Open(dir, quota)
		if err != nil {
			return nil, nil, err
		}
		s = &sharedFiles{files: files}
		shared[dir] = s
	}
	s.users++
	var once sync.Once
	return s.files, func() (err error) {
		once.Do(func() {
			sharedMu.Lock()
			defer sharedMu.Unlock()
			if s.users--; s.users == 0 {
				delete(shared, dir)
				err = s.files.Close()
			}
		})
		return err
	}, nil
}
