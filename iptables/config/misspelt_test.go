package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A variable that is nearly one of an option is told. Those that others set are not.
func TestMisspelt(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"MESHTABLES_EXCLUDED_PORT=80":              "MESHTABLES_EXCLUDED_PORTS",
		"MESHTABLES_OUTBOUND_PROT=80":              "MESHTABLES_OUTBOUND_PORT",
		"MESHTABLES_BACKND=nft":                    "MESHTABLES_BACKEND",
		"MESHTABLES_PROBE_TIMOUT=1s":               "MESHTABLES_PROBE_TIMEOUT", // of another verb
		"REF_DROP_INVALLID=true":                   "REF_DROP_INVALID",
		"MESHTABLES_EXCLUDED_PORTS=80":             "",
		"MESHTABLES_EXCLUDED_PORT=":                "",
		"MESHTABLES_PROBE_TIMEOUT=1s":              "",
		"MESHTABLES_BANANA=1":                      "",
		"MESHTABLES_LIVE=1":                        "",
		"MESHTABLES=1":                             "",
		"ENVOY_PROT=1":                             "", // no prefix of the reference
		"REF_META_DROP_INVALIDS=true":              "",
		"DRY_RUM=true":                             "",
		"MESHTABLES_OUTBND_PORT=tcp://10.0.0.1:80": "",
		"MESHTABLES_SERVICE_HOST=10.0.0.1":         "",
		"MESHTABLES_SERVICE_PORT_HTTP=80":          "",
		"MESHTABLES_PORT_80_TCP_PORT=80":           "",
	} {
		_, flags, _ := newFlags()
		new(own).register(flags)
		flags.Register(Row{Option{Name: "x", Env: []string{"REF_DROP_INVALID", "REF_META_DROP_INVALID"}}, Bool(new(bool))})
		flags.Mention(func() []Option { return []Option{{Name: "probe-timeout"}, {Name: "live", FlagOnly: true}} }, "")
		var wanted []string
		if want != "" {
			name, text, _ := strings.Cut(entry, "=")
			wanted = []string{Given{ByEnvironment, "environment variable " + name, text}.String() + " has no effect\nhint: did you mean " + want + "?"}
		}
		if diff := cmp.Diff(wanted, flags.Misspelt([]string{entry}, []string{"REF_"}, []string{"REF_META_"})); diff != "" {
			t.Errorf("%s: %s", entry, diff)
		}
	}
}
