// Package coralml carries the script that reads repositories of coral-ml, the Python package that Coral succeeds: `coral import --coral-ml` runs it.
// There is no kept pure-Go reader of HDF5, and who has such a repository has the package.
package coralml

import _ "embed"

// Script is export.py.
//
//go:embed export.py
var Script []byte
