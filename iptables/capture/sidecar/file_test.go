package sidecar

import (
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables/config"
)

// readFile reads a configuration file beside arguments and other sources.
func readFile(t *testing.T, text string, args []string, src config.Sources) (Config, error) {
	t.Helper()
	fs, flags := newFlags()
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
`, nil, config.Sources{})
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
	src := config.Sources{
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
			c, err := readFile(t, test.file, test.args, config.Sources{Env: test.env, Annotations: src.Annotations})
			if err != nil || !slices.Contains(c.Args(), test.want) {
				t.Errorf("got %v, %q, want %s", err, c.Args(), test.want)
			}
		})
	}
}

func FuzzFile(f *testing.F) {
	f.Add("mode: TPROXY\nexcluded-ports: [80, 8000-8010]\n")
	f.Add("included-ports:\n")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		_, flags := newFlags()
		if flags.AddFile("f", []byte(text)) != nil {
			return
		}
		c, _, err := flags.Config(config.Sources{})
		if err != nil {
			return
		}
		again, _, err := read(t, c.Args(), config.Sources{Users: usersMap{}})
		if err != nil || diffConfig(again, c) != "" {
			t.Errorf("%q: %v %s", c.Args(), err, diffConfig(again, c))
		}
	})
}
