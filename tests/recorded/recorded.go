// Package recorded has the recorded runs of the reference, for tests
// (tests/testdata/parity).
package recorded

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Case is one recorded run: the reference's input, and the kernel's rules afterwards.
// README.md beside the data describes the fields.
type Case struct {
	Name        string            `json:"name"`
	Args        []string          `json:"args"`
	Env         map[string]string `json:"env"`
	Addresses   []string          `json:"addrs"`
	NameServers []string          `json:"resolv"`
	ExitStatus  int               `json:"rc"`
	IPv4        []string          `json:"v4"`
	IPv6        []string          `json:"v6"`
	Rules       []string          `json:"rule"`
	Routes      []string          `json:"route"`
	Loopback6   []string          `json:"lo6"`
}

// Cases returns all recorded runs of istio-iptables.
func Cases(t testing.TB) []Case { return casesIn[Case](t, "cases.jsonl") }

// casesIn returns the recorded runs in a file.
func casesIn[T any](t testing.TB, file string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join(moduleRoot(t), "tests", "testdata", "parity", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c T
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("no recorded runs")
	}
	return cases
}

// moduleRoot is the nearest folder with a go.mod: tests run in the folder of
// their package.
func moduleRoot(t testing.TB) string {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			err = os.ErrNotExist
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("failed to find go.mod: %v", err)
	return ""
}

// ExplicitArgs returns the arguments, with the reference's defaults added where ours
// differ: without options the reference captures nothing and exempts nothing, and in a
// namespace that has IPv4 it captures IPv6 only with --dual-stack.
func (c *Case) ExplicitArgs() []string {
	args := slices.Clone(c.Args)
	for _, option := range []string{"-b", "-i", "-d"} {
		if !slices.Contains(args, option) {
			args = append(args, option, "")
		}
	}
	if !slices.Contains(args, "--dual-stack") && c.has(iptables.IPv4) && c.has(iptables.IPv6) {
		args = append(args, "--ipv6=off")
	}
	return args
}

func (c *Case) has(f iptables.Family) bool {
	return slices.ContainsFunc(c.Host().Addresses, func(p netip.Prefix) bool {
		return iptables.FamilyOf(p.Addr()) == f
	})
}

// Config returns the configuration of the arguments and the environment.
func (c *Case) Config(t testing.TB) sidecar.Config {
	t.Helper()
	return Parse(t, c.Environ(), c.ExplicitArgs()...)
}

// Parse returns the configuration of arguments and an environment.
func Parse(t testing.TB, env []string, args ...string) sidecar.Config {
	t.Helper()
	return read(t, new(sidecar.Options), config.Sources{Env: env}, args)
}

// options are those of a policy whose configuration is a C.
type options[C any] interface {
	Rows() []config.Row
	Read(*config.Flags, config.Sources) (C, []string, error)
}

// read returns the configuration of arguments and other sources, which are valid.
func read[C any](t testing.TB, o options[C], src config.Sources, args []string) C {
	t.Helper()
	fs := pflag.NewFlagSet("meshtables", pflag.ContinueOnError)
	flags := config.NewFlags(fs, o.Rows())
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := o.Read(flags, src)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Environ returns the environment in the form of os.Environ.
func (c *Case) Environ() []string {
	var env []string
	for name, value := range c.Env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// Host returns the host data of the namespace that the reference ran in.
func (c *Case) Host() host.Host {
	var h host.Host
	for _, a := range c.Addresses {
		h.Addresses = append(h.Addresses, netip.MustParsePrefix(a))
	}
	for _, a := range c.NameServers {
		h.NameServers = append(h.NameServers, netip.MustParseAddr(a))
	}
	return h
}

// Ruleset returns the kernel's rules, without the tables in which nothing was written:
// reading them had created them.
func (c *Case) Ruleset(t testing.TB) iptables.Ruleset {
	t.Helper()
	return ruleset(t, c.Name, c.IPv4, c.IPv6)
}

// ruleset reads what was saved of both families.
func ruleset(t testing.TB, name string, v4, v6 []string) iptables.Ruleset {
	t.Helper()
	var rs iptables.Ruleset
	for family, lines := range map[iptables.Family][]string{iptables.IPv4: v4, iptables.IPv6: v6} {
		tables, err := iptables.ParseSave(family, strings.NewReader(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		for _, table := range tables {
			if !slices.Equal(chainNames(table), iptables.BuiltinChains(table.Name)) {
				rs.Tables = append(rs.Tables, table)
			}
		}
	}
	rs.Sort()
	return rs
}

func chainNames(t iptables.Table) []string {
	names := make([]string, len(t.Chains))
	for i, c := range t.Chains {
		names[i] = c.Name
	}
	return names
}
