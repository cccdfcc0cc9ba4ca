package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/cni/install"
)

// The entry is found where a runtime finds it: in the first file by name, or in the folder of that
// network. What a name leads to is never out of the folder of networks.
func TestSettings(t *testing.T) {
	t.Parallel()
	const entry, plain = `{"type": "meshtables", "options": {"backend": "nftables"}}`, `{"type": "ptp"}`
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":        {nil, ""},
		"no entry":       {map[string]string{"10-a.conflist": `{"name": "a", "plugins": [` + plain + `]}`}, ""},
		"in the file":    {map[string]string{"10-a.conflist": `{"name": "a", "plugins": [` + plain + `, ` + entry + `]}`}, "nftables"},
		"in our own":     {map[string]string{install.OwnFile: `{"name": "a", "plugins": [` + plain + `, ` + entry + `]}`, "10-a.conflist": `{"name": "a", "plugins": [{"type": "meshtables"}]}`}, "nftables"},
		"in the folder":  {map[string]string{"10-a.conflist": `{"name": "a", "plugins": [` + plain + `]}`, "a/" + install.DropInFile: entry}, "nftables"},
		"another folder": {map[string]string{"10-a.conflist": `{"name": "a", "plugins": [` + plain + `]}`, "b/" + install.DropInFile: entry}, ""},
		"a path":         {map[string]string{"10-a.conflist": `{"name": "b/../b", "plugins": [` + plain + `]}`, "b/" + install.DropInFile: entry}, ""},
	} {
		n := Node{Networks: t.TempDir()}
		for file, text := range test.files {
			path := filepath.Join(n.Networks, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		settings, err := n.Settings(capture.Policies{sidecar.Policy{}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if settings != nil {
			got = settings.Backend()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
