package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// Users finds users and groups by name in /etc/passwd and /etc/group.
//
// It does not use [user.Lookup], which takes $USER for the name of the current
// user where /etc/passwd has no entry for its id, as in an empty image: root
// with USER=istio-proxy in its environment would become the proxy's user.
type Users struct{}

// UserID returns the id of the user of that name. The error wraps
// [user.UnknownUserError] where there is none.
func (Users) UserID(name string) (uint32, error) {
	id, err := findID("/etc/passwd", name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("no such user in /etc/passwd: %w", user.UnknownUserError(name))
	}
	return id, err
}

// GroupID returns the id of the group of that name. The error wraps
// [user.UnknownGroupError] where there is none.
func (Users) GroupID(name string) (uint32, error) {
	id, err := findID("/etc/group", name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("no such group in /etc/group: %w", user.UnknownGroupError(name))
	}
	return id, err
}

func findID(path, name string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	id, err := parseID(f, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

// parseID finds the line of a name in the text of passwd(5) or group(5), which
// share their first three fields: name, password, id. It returns
// [fs.ErrNotExist] where there is no such line.
func parseID(r io.Reader, name string) (uint32, error) {
	lines := bufio.NewReader(r)
	for {
		// A group's line lists its members and may be of any length.
		line, err := lines.ReadString('\n')
		fields := strings.SplitN(strings.TrimSpace(line), ":", 4)
		if name != "" && len(fields) == 4 && fields[0] == name {
			id, err := strconv.ParseUint(fields[2], 10, 32)
			if err != nil {
				return 0, fmt.Errorf("entry of %s: %q is no id", name, fields[2])
			}
			return uint32(id), nil
		}
		if errors.Is(err, io.EOF) {
			return 0, fs.ErrNotExist
		}
		if err != nil {
			return 0, err
		}
	}
}
