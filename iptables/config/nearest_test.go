package config

import (
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	fs, flags, _ := newFlags()
	fs.Bool("help", false, "")
	for unknown, want := range map[string]string{
		"included-port":           "included-ports",
		"exclude-ports":           "excluded-ports",
		"included_outbound_ports": "included-outbound-ports",
		"inculded-ports":          "included-ports",
		"drop":                    "drop-invalid",
		"envoy-prot":              "envoy-port",
		"hepl":                    "help",
		"dual-stak":               "", // hidden
		"excluded":                "", // might be any
		"banana":                  "",
		"x":                       "",
	} {
		if got := flags.Nearest(unknown); got != want {
			t.Errorf("%s: got %q, want %q", unknown, got, want)
		}
	}
}
