package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"coral/internal/service"
)

const stateName = "daemon.json"

// State is the content of daemon.json.
type State struct {
	PID     int                 `json:"pid"`
	Started time.Time           `json:"started"`
	Version string              `json:"version"`
	Mounts  []service.MountInfo `json:"mounts"`
}

// writeState replaces daemon.json. It is information only: a power cut may lose it.
func writeState(dir string, s State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", stateName, err)
	}
	path := filepath.Join(dir, stateName)
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(temp, append(b, '\n'), 0o644); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write %s: %w", stateName, err)
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write %s: %w", stateName, err)
	}
	return nil
}

// readState reads daemon.json; the zero State if there is none or it cannot be read.
func readState(dir string) (s State) {
	f, err := os.Open(filepath.Join(dir, stateName))
	if err != nil {
		return State{}
	}
	defer f.Close()
	if json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&s) != nil {
		return State{}
	}
	return s
}
