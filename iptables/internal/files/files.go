// Package files is what packages share that read folders of a machine that others write.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Names returns the names in a folder, in order. The folder need not be there, and must have
// fewer than that many.
func Names(folder string, most int) ([]string, error) {
	dir, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(most)
	if len(names) == most {
		return nil, fmt.Errorf("%s: must have fewer than %d files", folder, most)
	}
	slices.Sort(names)
	if len(names) > 0 {
		err = nil
	}
	return names, IgnoreEnd(err)
}

// IgnoreEnd returns nil for the end of a list.
func IgnoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Reason returns an error without the operation and the path.
func Reason(err error) error {
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
