package install

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Entry is the plugin's in a chain. It is read back by the same names, whatever their case.
type Entry struct {
	Type         string
	Capabilities map[string]bool
	// Options are the mesh's settings, by the names of the command line.
	Options map[string]string
	// ProxyUsers are the users that the proxy runs as, by patterns of namespaces.
	ProxyUsers         map[string][]uint32
	ExcludeNamespaces  []string
	WithoutAnnotations string
	Sandboxed          string
	LogFile            string
	LogLevel           string
	// DropIn is in a file of its own only: what the plugin leaves beside its program, so that
	// whoever wrote the file learns that the runtime has read it.
	DropIn string
}

// writer writes an entry into a chain, as it stands after a break between two plugins.
type writer interface{ text(after string) string }

// rawEntry is an entry as somebody has written it, which may be another version.
type rawEntry string

func (r rawEntry) text(string) string { return string(r) }

// NewEntry returns an entry that asks the runtime for the pod's annotations.
func NewEntry() Entry {
	return Entry{Type: PluginName, Capabilities: map[string]bool{"io.kubernetes.cri.pod-annotations": true}}
}

// text returns the entry as JSON, as it stands after a break between two plugins of a chain:
// on lines of its own if the others are. What is empty is left out.
func (e Entry) text(after string) string {
	indent, colon := "", ":"
	if at := strings.LastIndex(after, "\n"); at >= 0 {
		indent, colon = after[at:], ": "
	}
	inner := indent
	if indent != "" {
		inner += "  "
	}
	var fields []string
	add := func(name string, value any, empty bool) {
		if !empty {
			fields = append(fields, inner+`"`+name+`"`+colon+jsonText(value, inner))
		}
	}
	add("type", e.Type, false)
	add("capabilities", e.Capabilities, len(e.Capabilities) == 0)
	add("options", e.Options, len(e.Options) == 0)
	add("proxyUsers", e.ProxyUsers, len(e.ProxyUsers) == 0)
	add("excludeNamespaces", e.ExcludeNamespaces, len(e.ExcludeNamespaces) == 0)
	add("withoutAnnotations", e.WithoutAnnotations, e.WithoutAnnotations == "")
	add("sandboxed", e.Sandboxed, e.Sandboxed == "")
	add("logFile", e.LogFile, e.LogFile == "")
	add("logLevel", e.LogLevel, e.LogLevel == "")
	add("dropIn", e.DropIn, e.DropIn == "")
	return "{" + strings.Join(fields, ",") + indent + "}"
}

// jsonText returns a value as JSON, on lines of its own if indent is a line break and blanks.
func jsonText(value any, indent string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if indent != "" {
		encoder.SetIndent(indent[1:], "  ")
	}
	// An entry has only types that JSON can encode.
	_ = encoder.Encode(value)
	return strings.TrimSuffix(b.String(), "\n")
}
