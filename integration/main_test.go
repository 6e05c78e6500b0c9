// Package integration tests Coral from outside: the built binary, real mounts, real programs, real signals.
package integration

import (
	"os"
	"testing"

	"coral/integration/mounttest"
)

func TestMain(m *testing.M) { os.Exit(mounttest.Main(m)) }
