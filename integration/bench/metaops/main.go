// Command metaops measures operations a second on names: it makes, stats, renames and deletes small files in a directory, and lists them.
//
//	metaops [-n 10000] [-bytes 0] [-dirs 10] DIR
//
// It prints one line of JSON. DIR must be empty or missing; what was made is deleted again.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	n := flag.Int("n", 10000, "files")
	size := flag.Int("bytes", 0, "bytes in each")
	dirs := flag.Int("dirs", 10, "directories")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: metaops [-n N] [-bytes B] [-dirs D] DIR")
		os.Exit(2)
	}
	res, err := run(flag.Arg(0), *n, *size, *dirs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "metaops:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(res)
}

// run returns operations a second by name.
func run(dir string, n, size, dirs int) (map[string]int, error) {
	data := make([]byte, size)
	res := map[string]int{}
	name := func(kind string, i int) string {
		return filepath.Join(dir, fmt.Sprintf("d%d", i%dirs), fmt.Sprintf("%s%06d", kind, i))
	}
	for i := range dirs {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("d%d", i)), 0o755); err != nil {
			return nil, err
		}
	}
	phase := func(what string, n int, op func(i int) error) error {
		start := time.Now()
		for i := range n {
			if err := op(i); err != nil {
				return err
			}
		}
		res[what] = int(float64(n) / time.Since(start).Seconds())
		return nil
	}
	if err := phase("create", n, func(i int) error { return os.WriteFile(name("f", i), data, 0o644) }); err != nil {
		return nil, err
	}
	if err := phase("stat", n, func(i int) error { _, err := os.Lstat(name("f", i)); return err }); err != nil {
		return nil, err
	}
	if err := phase("open", n, func(i int) error {
		f, err := os.Open(name("f", i))
		if err != nil {
			return err
		}
		return f.Close()
	}); err != nil {
		return nil, err
	}
	if err := phase("rename", n, func(i int) error { return os.Rename(name("f", i), name("g", i)) }); err != nil {
		return nil, err
	}
	if err := phase("list", dirs, func(i int) error { _, err := os.ReadDir(filepath.Join(dir, fmt.Sprintf("d%d", i))); return err }); err != nil {
		return nil, err
	}
	if err := phase("unlink", n, func(i int) error { return os.Remove(name("g", i)) }); err != nil {
		return nil, err
	}
	return res, phase("rmdir", dirs, func(i int) error { return os.Remove(filepath.Join(dir, fmt.Sprintf("d%d", i))) })
}
