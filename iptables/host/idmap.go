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

// IDRange is Count ids, starting at First, as the namespace numbers them. Outside is the first
// of them in the user namespace of who reads the map.
type IDRange struct{ First, Outside, Count uint32 }

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
		var numbers [3]uint32
		for i, field := range fields {
			n, err := strconv.ParseUint(field, 10, 32)
			if err != nil {
				return nil, errIDMap
			}
			numbers[i] = uint32(n)
		}
		m = append(m, IDRange{numbers[0], numbers[1], numbers[2]})
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

// Inside returns the namespace's number for an id outside it, and whether it has one.
func (m IDMap) Inside(outside uint32) (id uint32, ok bool) {
	for _, r := range m {
		if outside >= r.Outside && outside-r.Outside < r.Count {
			return r.First + outside - r.Outside, true
		}
	}
	return 0, false
}
