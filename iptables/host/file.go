package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// File is a file as a process sees it. The process may have another root than this one.
// Whoever owns that root decides what is at the path, so we open it with care.
type File struct {
	// Root is the root directory of the process, such as /proc/PID/root, or "" for our
	// own.
	Root string
	// Path is absolute, below the root.
	Path string
}

// String returns the path by which others find the file, as long as no link in it is
// absolute.
func (f File) String() string { return f.Root + f.Path }

// maxFileSize is far beyond what a person or a kubelet writes.
const maxFileSize = 64 << 10

// read returns the content of a regular file of at most [maxFileSize].
func (f File) read() ([]byte, error) { return f.Read(maxFileSize) }

// Read returns the content of a regular file of at most that many bytes. It never waits, and
// opens neither devices nor pipes.
func (f File) Read(most int) ([]byte, error) {
	text, err := f.tryRead(most)
	if err != nil {
		if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
			err = failed.Err // its path is one of a descriptor
		}
		return nil, &fs.PathError{Op: "read", Path: f.String(), Err: err}
	}
	return text, nil
}

func (f File) tryRead(most int) ([]byte, error) {
	file, err := f.open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := checkRegular(file); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, fmt.Errorf("must have at most %d KiB", most>>10)
	}
	return text, nil
}

// open opens the file for reading. Below another root it opens regular files only: just
// opening a device, such as a watchdog, can start it.
func (f File) open() (*os.File, error) {
	if f.Root == "" {
		return os.OpenFile(f.Path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	}
	found, err := f.find()
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if err := checkRegular(found); err != nil {
		return nil, err
	}
	// This opens the file that we checked, whatever its name leads to now (proc(5)).
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", found.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// find opens the file below another root with O_PATH (open(2)).
func (f File) find() (*os.File, error) {
	root, err := os.OpenFile(f.Root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	found, err := findInRoot(root, f.Path)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		// Linux before 5.6, or a filter of system calls that does not know it.
		return walkInRoot(root, f.Path)
	}
	return found, err
}

// findInRoot finds a path as a process with that root does: absolute links and ".." stay
// below it.
func findInRoot(root *os.File, path string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	const attempts = 100
	var err error
	for range attempts {
		var fd int
		if fd, err = unix.Openat2(int(root.Fd()), path, &how); err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		// EAGAIN says that something was renamed meanwhile (openat2(2)).
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return nil, err
}

// maxLinks is how many links a path may lead through (path_resolution(7)).
const maxLinks = 40

// walkInRoot is findInRoot for kernels without openat2. It opens one name after the
// other, follows links by their text, and goes up the way that it came down. So it cannot
// leave the root, even if something is renamed meanwhile.
func walkInRoot(root *os.File, path string) (*os.File, error) {
	way := []*os.File{root}
	up := func(depth int) {
		for _, f := range way[depth:] {
			f.Close()
		}
		way = way[:depth]
	}
	defer func() { up(1) }()
	links := 0
	for names := strings.Split(path, "/"); len(names) > 0; {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			up(max(1, len(way)-1))
			continue
		}
		fd, err := unix.Openat(int(way[len(way)-1].Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		way = append(way, os.NewFile(uintptr(fd), name))
		target, isLink, err := readLink(fd)
		if err != nil {
			return nil, err
		}
		if !isLink {
			continue
		}
		if links++; links > maxLinks {
			return nil, unix.ELOOP
		}
		up(len(way) - 1)
		if strings.HasPrefix(target, "/") {
			up(1)
		}
		names = append(strings.Split(target, "/"), names...)
	}
	if len(way) == 1 {
		return nil, unix.EISDIR
	}
	found := way[len(way)-1]
	way = way[:len(way)-1]
	return found, nil
}

// readLink returns the target of a symbolic link that was opened with O_PATH.
func readLink(fd int) (target string, isLink bool, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "", false, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, nil
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", text)
	return string(text[:max(n, 0)]), true, err
}

func checkRegular(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	kind := "something else"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return fmt.Errorf("must be a regular file, but is %s", kind)
}
