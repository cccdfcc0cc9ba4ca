package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// readFile reads a configuration file beside arguments and other sources.
func readFile(t *testing.T, text string, args []string, src Sources) (Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := NewFlags(fs)
	flags.Mention([]Option{{Name: "dry-run"}, {Name: "live", FlagOnly: true}})
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := flags.AddFile("mesh.yaml", []byte(text)); err != nil {
		return Config{}, err
	}
	c, _, err := flags.Config(src)
	return c, err
}

func TestFile(t *testing.T) {
	c, err := readFile(t, `
# what the mesh wants
mode: TPROXY
excluded-ports: [80, 8000-8010]
excluded-outbound-ports: 443,9000:9001
included-cidrs:
- 10.0.0.0/8
- fd00::/8
redirect-dns: true
ipv6: off
included-ports:
`, nil, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	args := c.Args()
	for _, want := range []string{
		"--mode=TPROXY", "--excluded-ports=80,8000:8010", "--excluded-outbound-ports=443,9000:9001",
		"--included-cidrs=10.0.0.0/8,fd00::/8", "--redirect-dns=true", "--ipv6=off", "--included-ports=",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("%s is missing in %q", want, args)
		}
	}
}

// The file goes after the environment and before the annotations.
func TestAuthorityOfFile(t *testing.T) {
	src := Sources{
		Env:         []string{"MESHTABLES_EXCLUDED_OUTBOUND_PORTS=2"},
		Annotations: []byte("traffic.sidecar.istio.io/excludeOutboundPorts=\"4\"\ntraffic.sidecar.istio.io/includeOutboundPorts=\"4\"\n"),
	}
	for name, test := range map[string]struct {
		file string
		args []string
		env  []string
		want string
	}{
		"flag":        {"excluded-outbound-ports: 3", []string{"--excluded-outbound-ports=1"}, src.Env, "--excluded-outbound-ports=1"},
		"environment": {"excluded-outbound-ports: 3", nil, src.Env, "--excluded-outbound-ports=2"},
		"file":        {"excluded-outbound-ports: 3", nil, nil, "--excluded-outbound-ports=3"},
		"annotation":  {"", nil, nil, "--excluded-outbound-ports=4"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := readFile(t, test.file, test.args, Sources{Env: test.env, Annotations: src.Annotations})
			if err != nil || !slices.Contains(c.Args(), test.want) {
				t.Errorf("got %v, %q, want %s", err, c.Args(), test.want)
			}
		})
	}
}

func TestErrorsOfFile(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no YAML":        {"mode: [", "configuration file mesh.yaml: yaml: "},
		"star":           {"mode: TPROXY\nincluded-ports: *\n", `a * has to be in quotes, as in included-ports: "*" (line 2)`},
		"star in a list": {"included-ports: [*]", `a * has to be in quotes, as in included-ports: "*" (line 1)`},
		"alias":          {"inbound-port: &p 1\noutbound-port: *p", "line 2, outbound-port: must be a value or a list of values"},
		"two documents":  {"mode: TPROXY\n---\nmode: REDIRECT", "configuration file mesh.yaml: must be one document, without a second one after ---"},
		"no mapping":     {"- mode", `configuration file mesh.yaml, line 1: must be options with their values, such as "mode: TPROXY"`},
		"unknown":        {"\nexclude-ports: 80", `configuration file mesh.yaml, line 2, exclude-ports "80": there is no such option; did you mean excluded-ports?`},
		"underscores":    {"included_ports: 80", `included_ports "80": there is no such option; did you mean included-ports?`},
		"hidden":         {"dual-stack: true", `dual-stack "true": in a file give it as ipv6: on`},
		"reference name": {"envoy-port: 1", `envoy-port "1": in a file it is outbound-port`},
		"letter":         {"p: 1", `p "1": in a file it is outbound-port`},
		"variable":       {"INVALID_DROP: true", `INVALID_DROP "true": in a file it is drop-invalid`},
		"annotation":     {"sidecar.istio.io/interceptionMode: TPROXY", `in a file it is mode`},
		"no name":        {`"": 1`, `line 1,  "1": there is no such option`},
		"flag only":      {"live: true", `live "true": it is only a flag`},
		"another verb's": {"dry-run: true", `dry-run "true": it is not an option of this verb`},
		"twice":          {"mode: TPROXY\nmode: REDIRECT", `line 2, mode "REDIRECT": must not be given again`},
		"nested":         {"mode: {a: b}", `line 1, mode: must be a value or a list of values`},
		"nested list":    {"excluded-ports: [[80]]", `must be a value or a list of values`},
		"bad value":      {"mode: BANANA", `configuration file mesh.yaml, line 1, mode "BANANA": must be REDIRECT or TPROXY`},
		"several":        {"a: 1\ny: 2", "line 1, a \"1\": there is no such option\nconfiguration file mesh.yaml, line 2, y \"2\": there is no such option"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readFile(t, test.text, nil, Sources{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func FuzzFile(f *testing.F) {
	f.Add("mode: TPROXY\nexcluded-ports: [80, 8000-8010]\n")
	f.Add("included-ports:\n")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags := NewFlags(fs)
		if flags.AddFile("f", []byte(text)) != nil {
			return
		}
		c, _, err := flags.Config(Sources{})
		if err != nil {
			return
		}
		again, _, err := read(t, c.Args(), Sources{Users: usersMap{}})
		if err != nil || diffConfig(again, c) != "" {
			t.Errorf("%q: %v %s", c.Args(), err, diffConfig(again, c))
		}
	})
}
