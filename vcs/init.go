package vcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"coral/internal/errs"
	"coral/objstore/local"
	"coral/vcs/ref"
	"coral/vcs/similar"
)

// DirName is the repository's directory inside the one that Init is given.
const DirName = ".coral"

// Format is the format version that this code reads and writes. Repositories of another are refused.
const Format = 1

const (
	configName = "repo.json"
	maxConfig  = 64 << 10
)

// configFile is repo.json.
type configFile struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
}

// Init makes a repository in dir/.coral (dir is created) on branch main. errs.Exist if there is one. repo.json is written
// last: an Init that was killed can be repeated.
func Init(dir string) error {
	root := filepath.Join(dir, DirName)
	if err := initialise(root); err != nil {
		return fmt.Errorf("init %s: %w", root, err)
	}
	return nil
}

func initialise(root string) error {
	switch _, err := os.Stat(filepath.Join(root, configName)); {
	case err == nil:
		return fmt.Errorf("there is a repository: %w", errs.Exist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	// Everything below is the owner's alone: others read through a mount, by the modes of the files there.
	for _, sub := range []string{"packs", "live", "spool", "cache", "log", similar.DirName} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			return err
		}
	}
	packs, err := local.Open(context.Background(), root, local.Options{})
	if err != nil {
		return err
	}
	if err := packs.Close(); err != nil {
		return err
	}
	refs, err := ref.Open(root, false)
	if err != nil {
		return err
	}
	if err := refs.Close(); err != nil {
		return err
	}
	if err := writeConfig(root, configFile{Format: Format, Created: time.Now().UTC().Truncate(time.Second)}); err != nil {
		return err
	}
	return syncDir(filepath.Dir(root))
}

// writeConfig writes repo.json whole and durably, or not at all.
func writeConfig(root string, c configFile) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp := filepath.Join(root, configName+".new")
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(root, configName)); err != nil {
		return err
	}
	return syncDir(root)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// checkConfig refuses what is no repository, or one of another format.
func checkConfig(root string) error {
	f, err := os.Open(filepath.Join(root, configName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no repository there, make one with coral init: %w", errs.NotFound)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return err
	}
	var c configFile
	if err := json.Unmarshal(b, &c); err != nil || len(b) > maxConfig {
		return &errs.CorruptError{Where: configName, Offset: -1, Detail: fmt.Sprintf("not the JSON it should be (%v)", err)}
	}
	if c.Format != Format {
		return fmt.Errorf("format %d, this coral knows format %d: upgrade coral: %w", c.Format, Format, errs.Unsupported)
	}
	return nil
}
