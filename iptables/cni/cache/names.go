package cache

import (
	"path/filepath"
	"strings"
)

// What names look like: those of Kubernetes are labels and subdomains of RFC 1123, a container's
// is as the specification of CNI has it ("CNI_CONTAINERID" in SPEC.md). They are asked for
// thousands of times, and regular expressions of such lengths are slow to compile.
const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// IsNamespace reports whether a text can be the name of a namespace of Kubernetes.
func IsNamespace(text string) bool { return isDomain(text, 63, lower+digits+"-") }

// IsName reports whether a text can be the name of a pod.
func IsName(text string) bool { return isDomain(text, 253, lower+digits+"-.") }

// isDomain reports whether a text has only these characters, and letters or digits at both ends.
func isDomain(text string, longest int, characters string) bool {
	return isMadeOf(text, longest, characters) && isMadeOf(text[:1], 1, lower+digits) && isMadeOf(text[len(text)-1:], 1, lower+digits)
}

func isUID(text string) bool { return isMadeOf(text, 64, lower+upper+digits+"-") }

func isContainer(text string) bool {
	return isMadeOf(text, 128, lower+upper+digits+"-_.") && isMadeOf(text[:1], 1, lower+upper+digits)
}

// isMadeOf reports whether a text is not empty, not too long, and has only these characters.
func isMadeOf(text string, longest int, characters string) bool {
	return text != "" && len(text) <= longest && strings.Trim(text, characters) == ""
}

// isPath reports whether a text is the path of a file as the kernel takes it, without ways
// up.
func isPath(text string) bool {
	const longestPath = 4095 // PATH_MAX without its end
	return len(text) <= longestPath && filepath.IsAbs(text) && filepath.Clean(text) == text && !strings.Contains(text, "\x00")
}
