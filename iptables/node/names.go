package node

import (
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strings"
)

// What names look like: those of Kubernetes are labels and subdomains of RFC 1123, a container's
// is as the specification of CNI has it ("CNI_CONTAINERID" in SPEC.md).
var (
	isLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	isSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	isUID       = regexp.MustCompile(`^[-A-Za-z0-9]{1,64}$`)
	isContainer = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]{0,127}$`)
)

// IsNamespace reports whether a text can be the name of a namespace of Kubernetes.
func IsNamespace(text string) bool { return isLabel.MatchString(text) }

// IsName reports whether a text can be the name of a pod.
func IsName(text string) bool { return isSubdomain.MatchString(text) }

// isPath reports whether a text is the path of a file as the kernel takes it, without ways
// up.
func isPath(text string) bool {
	const longest = 4095 // PATH_MAX without its end
	return len(text) <= longest && filepath.IsAbs(text) && filepath.Clean(text) == text && !strings.Contains(text, "\x00")
}

// shorten cuts a text to a length that fits a message.
func shorten(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}

// ignoreEnd returns nil for the end of a list.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
