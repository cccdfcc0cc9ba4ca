package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Users finds users and groups by name in /etc/passwd and /etc/group.
//
// It does not use os/user. If /etc/passwd has no entry for the current user's id, as
// in an empty image, os/user takes $USER for its name: root with USER=istio-proxy
// would become the proxy's user.
type Users struct{}

// ErrUnknownName is wrapped by errors about users and groups that do not exist.
var ErrUnknownName = errors.New("no such name")

// UserID returns the id of the user of that name.
func (Users) UserID(name string) (uint32, error) {
	return findID("/etc/passwd", name)
}

// GroupID returns the id of the group of that name.
func (Users) GroupID(name string) (uint32, error) {
	return findID("/etc/group", name)
}

func findID(path, name string) (uint32, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: there is no %s", ErrUnknownName, path)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	id, err := parseID(f, name)
	if errors.Is(err, ErrUnknownName) {
		return 0, fmt.Errorf("%w in %s", err, path)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

// parseID finds the line of a name in the text of passwd(5) or group(5), which
// share their first three fields: name, password, id. It returns
// [ErrUnknownName] if there is no such line.
func parseID(r io.Reader, name string) (uint32, error) {
	lines := bufio.NewReader(r)
	for {
		// A group's line lists its members and may be of any length.
		line, err := lines.ReadString('\n')
		fields := strings.SplitN(strings.TrimSpace(line), ":", 4)
		if name != "" && len(fields) == 4 && fields[0] == name {
			id, err := strconv.ParseUint(fields[2], 10, 32)
			if err != nil {
				return 0, fmt.Errorf("entry of %s: %q is not an id", name, fields[2])
			}
			return uint32(id), nil
		}
		if errors.Is(err, io.EOF) {
			return 0, ErrUnknownName
		}
		if err != nil {
			return 0, err
		}
	}
}
