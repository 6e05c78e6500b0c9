package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// allPeers are the tools that are compared with, in the order of their rows.
var allPeers = []*peer{
	{
		name: "zstd", what: "zstd -3 --long=27 of all files as one", program: "zstd", install: "apt-get install zstd, or make peers",
		prepare: joinFiles,
		encode: func(c *call) error {
			return c.timed("-3", "--long=27", "-q", "-f", "-T"+strconv.Itoa(c.o.Cores), c.joined(), "-o", filepath.Join(c.store, "all.zst"))
		},
		decode: func(c *call) error {
			return c.timed("-d", "--long=27", "-q", "-f", filepath.Join(c.store, "all.zst"), "-o", filepath.Join(c.out, "all"))
		},
		check: compareJoined,
	},
	{
		name: "restic", what: "one backup, --compression auto", program: "restic", install: "apt-get install restic, or make peers",
		prepare: func(c *call) error { return untimed(c, "init", "-q", "-r", c.store, "--repository-version", "2") },
		encode:  func(c *call) error { return c.timed("backup", "-q", "-r", c.store, "--compression", "auto", ".") },
		decode:  func(c *call) error { return c.timed("restore", "-q", "-r", c.store, "latest", "--target", c.out) },
	},
	python("lmz", "lmzip", "one archive of all files, with duplicates and deltas"),
	python("zipnn", "zipnn", "each file alone, by the dtype of most of its bytes"),
	python("bigsmall", "bigsmall", "each safetensors, against the one before"),
	python("coral-ml", "coral-ml", "one commit a file, of its tensors"),
}

// python is a peer that the helper knows.
func python(name, pip, what string) *peer {
	return &peer{
		name: name, what: what, module: name, install: "pip install " + pip + ", or make peers",
		encode: func(c *call) error { return helperStep(c, "encode") },
		decode: func(c *call) error { return helperStep(c, "decode") },
		check:  checkHelped,
	}
}

// helperStep runs a step and takes the helper's word for the time it took.
func helperStep(c *call, step string) error {
	res, err := c.python(c.limit(), step)
	if err != nil {
		return err
	}
	c.took.add(spent{seconds(res.Seconds), seconds(res.CPU)})
	if res.Tensors > 0 {
		c.row.Exact = &Exactness{Tensors: res.Tensors, TensorsDiffer: res.Differ, NotFiles: true}
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// checkHelped compares files, unless the helper has compared tensors.
func checkHelped(c *call) error {
	if c.row.Exact != nil {
		return nil
	}
	return c.compareFiles()
}

func untimed(c *call, args ...string) error {
	_, err := c.exec(c.limit(), c.exe, args...)
	return err
}

func (c *call) joined() string { return filepath.Join(c.dir, "joined") }

// joinFiles writes all files of the corpus into one, which sees what they share.
func joinFiles(c *call) (err error) {
	dst, err := os.Create(c.joined())
	if err != nil {
		return err
	}
	defer func() {
		if cerr := dst.Close(); err == nil {
			err = cerr
		}
	}()
	for i := range c.files {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := appendFile(dst, c.staged(&c.files[i])); err != nil {
			return err
		}
	}
	return nil
}

func appendFile(dst *os.File, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = io.Copy(dst, src)
	return err
}

// compareJoined compares the ranges of the files in the one that came back.
func compareJoined(c *call) error {
	if err := os.Remove(c.joined()); err != nil {
		return err
	}
	back, err := os.Open(filepath.Join(c.out, "all"))
	if err != nil {
		return err
	}
	defer back.Close()
	c.row.Exact = &Exactness{Files: len(c.files)}
	at := int64(0)
	for i := range c.files {
		f := &c.files[i]
		src, err := os.Open(c.staged(f))
		if err != nil {
			return err
		}
		same, err := equal(src, io.NewSectionReader(back, at, f.size))
		src.Close()
		if err != nil {
			return fmt.Errorf("compare %s: %w", f.from, err)
		}
		if !same {
			c.row.Exact.FilesDiffer++
		}
		at += f.size
	}
	return nil
}
