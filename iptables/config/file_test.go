package config

import (
	"cmp"
	"strings"
	"testing"
)

func TestErrorsOfFile(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no YAML":        {"mode: [", "configuration file mesh.yaml: yaml: "},
		"star":           {"mode: TPROXY\nincluded-ports: *\n", `a * has to be in quotes, as in included-ports: "*" (line 2)`},
		"star in a list": {"included-ports: [*]", `a * has to be in quotes, as in included-ports: "*" (line 1)`},
		"alias":          {"inbound-port: &p 1\noutbound-port: *p", "line 2, outbound-port: must be a value or a list of values"},
		"two documents":  {"mode: TPROXY\n---\nmode: REDIRECT", "configuration file mesh.yaml: must be one YAML document, but there is another after ---"},
		"no mapping":     {"- mode", `configuration file mesh.yaml, line 1: must be options with their values, such as "mode: TPROXY"`},
		"unknown":        {"\nexclude-ports: 80", `configuration file mesh.yaml, line 2, exclude-ports "80": there is no such option; did you mean excluded-ports?`},
		"underscores":    {"included_ports: 80", `included_ports "80": there is no such option; did you mean included-ports?`},
		"hidden":         {"dual-stack: true", `dual-stack "true": in a file give it as ipv6: on`},
		"reference name": {"envoy-port: 1", `envoy-port "1": in a file its name is outbound-port`},
		"letter":         {"p: 1", `p "1": in a file its name is outbound-port`},
		"variable":       {"INVALID_DROP: true", `INVALID_DROP "true": in a file its name is drop-invalid`},
		"annotation":     {"sidecar.istio.io/interceptionMode: TPROXY", `in a file its name is mode`},
		"no name":        {`"": 1`, `line 1,  "1": there is no such option`},
		"flag only":      {"live: true", `live "true": only a flag can give it`},
		"another verb's": {"dry-run: true", `dry-run "true": it is not an option of this verb`},
		"twice":          {"mode: TPROXY\nmode: REDIRECT", `line 2, mode "REDIRECT": must be given only once`},
		"nested":         {"mode: {a: b}", `line 1, mode: must be a value or a list of values`},
		"nested list":    {"excluded-ports: [[80]]", `must be a value or a list of values`},
		"bad value":      {"mode: BANANA", `configuration file mesh.yaml, line 1, mode "BANANA": must be REDIRECT or TPROXY`},
		"several":        {"a: 1\ny: 2", "line 1, a \"1\": there is no such option\nconfiguration file mesh.yaml, line 2, y \"2\": there is no such option"},
	} {
		t.Run(name, func(t *testing.T) {
			_, flags, _ := newFlags()
			flags.Mention(func() []Option { return []Option{{Name: "dry-run"}, {Name: "live", FlagOnly: true}} }, "")
			err := cmp.Or(flags.AddFile("mesh.yaml", []byte(test.text)), flags.Read(Sources{}).Err())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
