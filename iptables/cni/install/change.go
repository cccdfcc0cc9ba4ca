package install

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// attempts limits how often a file is changed again because somebody else changed it at the
// same time.
const attempts = 10

// errOther says that somebody else changed the file at the same time.
var errOther = errors.New("somebody else keeps changing it")

// change replaces the text of a network's configuration, at once, unless it stays the same. A
// file that is no list becomes one, under another name, and back. It returns the file that
// was written, or "".
func change(file string, edit func(*chain) (string, error)) (changed string, err error) {
	for range attempts {
		c, err := readChain(file)
		if err != nil {
			return "", err
		}
		text, err := edit(c)
		if err != nil || text == c.text {
			return "", err
		}
		to := file
		if c.single {
			to = listFile(file)
		} else if single, ok := c.asSingle(); ok && text == c.without() {
			text, to = single, file[:len(file)-len(listExtension)]+".conf"
		}
		if to == file {
			err = exchange(file, c.text, text)
		} else {
			err = rename(file, to, text)
		}
		if err == nil {
			return to, nil
		}
		if !errors.Is(err, errOther) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: %w", file, errOther)
}

// exchange puts new text in the place of the old. If the old is not there any more, it puts
// back what is.
func exchange(file, old, text string) error {
	temporary, err := write(file, text)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	err = unix.Renameat2(unix.AT_FDCWD, temporary, unix.AT_FDCWD, file, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// Not every file system can exchange two files (rename(2)).
		return os.Rename(temporary, file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	replaced, err := os.ReadFile(temporary)
	if err != nil || string(replaced) == old {
		return err
	}
	return errors.Join(errOther, unix.Renameat2(unix.AT_FDCWD, temporary, unix.AT_FDCWD, file, unix.RENAME_EXCHANGE))
}

// rename puts text into a file of another name, then removes the old one. In between the
// runtime takes the first in order.
func rename(file, to, text string) error {
	if err := writeTo(file, to, text); err != nil {
		return err
	}
	return os.Remove(file)
}

// writeTo puts text into a file at once, with the owner and mode of another. Runtimes hear of it
// wherever it is: the new file leaves the folder of the other.
func writeTo(beside, to, text string) error {
	temporary, err := write(beside, text)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, to); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// write writes text into a new file beside another, with the same owner and mode. Its name
// has no extension that a runtime reads.
func write(beside, text string) (temporary string, err error) {
	like, err := os.Stat(beside)
	if err != nil {
		return "", err
	}
	return create(filepath.Dir(beside), like, func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	})
}

// create makes a file in a folder, with the owner and mode of another if that is not nil.
// After an error there is none.
func create(folder string, like os.FileInfo, fill func(*os.File) error) (name string, err error) {
	f, err := os.CreateTemp(folder, ".meshtables-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = fill(f)
	if err == nil && like != nil {
		err = f.Chmod(like.Mode().Perm())
		if owner, ok := like.Sys().(*syscall.Stat_t); ok && err == nil && int(owner.Uid) != os.Getuid() {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return f.Name(), errors.Join(err, f.Close())
}

// copyProgram copies the program of this process to a path, at once, also where it runs. It
// reports whether that was needed.
func copyProgram(to string) (copied bool, err error) {
	source, err := os.Open("/proc/self/exe")
	if err != nil {
		return false, err
	}
	defer source.Close()
	if same, err := hasContent(to, source); err != nil || same {
		return false, err
	}
	name, err := create(filepath.Dir(to), nil, func(f *os.File) error {
		if _, err := io.Copy(f, source); err != nil {
			return err
		}
		return f.Chmod(0o755)
	})
	if err != nil {
		return false, err
	}
	if err := os.Rename(name, to); err != nil {
		return false, errors.Join(err, os.Remove(name))
	}
	return true, nil
}

// hasContent reports whether a file can be run and has the content of another, which it
// leaves at its beginning.
func hasContent(path string, other *os.File) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	a, errA := f.Stat()
	b, errB := other.Stat()
	if err := errors.Join(errA, errB); err != nil || a.Size() != b.Size() || a.Mode().Perm()&0o111 == 0 {
		return false, err
	}
	same, err := equal(f, other)
	_, seek := other.Seek(0, io.SeekStart)
	return same, errors.Join(err, seek)
}

// equal compares what two files have.
func equal(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, errX := io.ReadFull(a, x)
		m, errY := io.ReadFull(b, y)
		if n != m || string(x[:n]) != string(y[:m]) {
			return false, nil
		}
		for _, err := range []error{errX, errY} {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return true, nil
			}
			if err != nil {
				return false, err
			}
		}
	}
}
