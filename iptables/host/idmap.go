package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// IDMap lists the ids of a user namespace that are mapped to ids outside it: a
// uid_map or gid_map (user_namespaces(7)).
type IDMap []IDRange

// IDRange is Count ids, starting at First, as the namespace numbers them.
type IDRange struct{ First, Count uint32 }

// readIDMap reads the file "uid_map" or "gid_map" of a process in procfs.
func readIDMap(file string) (IDMap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := parseIDMap(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

var errIDMap = errors.New("must be lines of three numbers")

func parseIDMap(text string) (IDMap, error) {
	var m IDMap
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, errIDMap
		}
		first, err1 := strconv.ParseUint(fields[0], 10, 32)
		count, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err1 != nil || err2 != nil {
			return nil, errIDMap
		}
		m = append(m, IDRange{uint32(first), uint32(count)})
	}
	return m, nil
}

// Has reports whether the namespace maps an id. No process in it can have any
// other id.
func (m IDMap) Has(id uint32) bool {
	for _, r := range m {
		if id >= r.First && id-r.First < r.Count {
			return true
		}
	}
	return false
}
