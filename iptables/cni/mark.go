package cni

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// MarkFile is the name of a file in the folder of the plugin's program. A drop-in in a network's
// folder is there or not, but not every runtime reads it. So its entry has a text, which the
// plugin writes there when a pod starts: whoever finds it knows that the runtime does. When the
// file was last changed says when that was.
const MarkFile = ".meshtables-drop-in"

// leaveMark writes the mark, or changes its time. Copies of the program may do so at once.
func leaveMark(text string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	file := filepath.Join(filepath.Dir(program), MarkFile)
	if there, err := os.ReadFile(file); err == nil && string(there) == text {
		now := time.Now()
		return os.Chtimes(file, now, now)
	}
	f, err := os.CreateTemp(filepath.Dir(file), MarkFile+"-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
