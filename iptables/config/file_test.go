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
		Env:         []string{"EXCLUDED_OUTBOUND_PORTS=2"},
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
		"no mapping":     {"- mode", `configuration file mesh.yaml, line 1: must be options with their values, such as "mode: TPROXY"`},
		"unknown":        {"\nexclude-ports: 80", `configuration file mesh.yaml, line 2, exclude-ports "80": there is no such option`},
		"hidden":         {"dual-stack: true", `dual-stack "true": there is no such option`},
		"reference name": {"envoy-port: 1", `envoy-port "1": there is no such option`},
		"twice":          {"mode: TPROXY\nmode: REDIRECT", `line 2, mode "REDIRECT": must not be given again`},
		"nested":         {"mode: {a: b}", `must be a value or a list of values`},
		"nested list":    {"excluded-ports: [[80]]", `must be a value or a list of values`},
		"bad value":      {"mode: BANANA", `configuration file mesh.yaml, line 1, mode "BANANA": must be REDIRECT or TPROXY`},
		"several":        {"a: 1\nb: 2", "line 1, a \"1\": there is no such option\nconfiguration file mesh.yaml, line 2, b \"2\": there is no such option"},
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
