package sidecar

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// usersMap is a Users of fixed names.
type usersMap struct{ users, groups map[string]uint32 }

func (m usersMap) UserID(name string) (uint32, error)  { return find(m.users, "user", name) }
func (m usersMap) GroupID(name string) (uint32, error) { return find(m.groups, "group", name) }

func find(ids map[string]uint32, kind, name string) (uint32, error) {
	id, ok := ids[name]
	if !ok {
		return 0, fmt.Errorf("unknown %s %s", kind, name)
	}
	return id, nil
}

func testUsers() usersMap {
	return usersMap{
		users:  map[string]uint32{"envoy": 101, "proxy": 202, "root": 0},
		groups: map[string]uint32{"mesh": 303, "ops": 404},
	}
}

// optionFlags are the flags of options.
type optionFlags struct {
	*config.Flags
	options Options
}

func (f *optionFlags) Config(src config.Sources) (Config, []string, error) {
	return f.options.Read(f.Flags, src)
}

// newFlags returns flags that print nothing and do not exit.
func newFlags() (*pflag.FlagSet, *optionFlags) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	var f optionFlags
	f.Flags = config.NewFlags(fs, f.options.Rows())
	return fs, &f
}

// read returns what arguments and sources come to; the arguments have to parse.
func read(t *testing.T, args []string, src config.Sources) (Config, []string, error) {
	t.Helper()
	fs, flags := newFlags()
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parsing %q: %v", args, err)
	}
	if src.Users == nil {
		src.Users = testUsers()
	}
	return flags.Config(src)
}

// with returns the default Config after a change.
func with(change func(*Config)) Config {
	c := Default()
	change(&c)
	return c
}

func diffConfig(got, want Config) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty())
}

func wantConfig(t *testing.T, got Config, err error, want Config) {
	t.Helper()
	if err != nil {
		t.Fatalf("error %v", err)
	}
	if diff := diffConfig(got, want); diff != "" {
		t.Errorf("wrong Config (-want +got):\n%s", diff)
	}
}

func parsePrefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// ids returns the ids from 1 to n, and as a list.
func ids(n uint32) (all []uint32, list string) {
	var words []string
	for id := range n {
		all = append(all, id+1)
		words = append(words, number(id+1))
	}
	return all, strings.Join(words, ",")
}

func portRanges(pairs ...uint16) []iptables.PortRange {
	var all []iptables.PortRange
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, iptables.PortRange{First: pairs[i], Last: pairs[i+1]})
	}
	return all
}

func TestDefault(t *testing.T) {
	t.Parallel()
	want := Config{
		OutboundPort: 15001, InboundPort: 15006, TunnelPort: 15008,
		ProxyUIDs: []uint32{1337}, ProxyGIDs: []uint32{1337},
		Mode:           ModeRedirect,
		IncludedPorts:  config.PortSelection{All: true},
		ExcludedPorts:  portRanges(15020, 15020, 15021, 15021, 15090, 15090),
		IncludedCIDRs:  config.CIDRSelection{All: true},
		TProxyMark:     1337,
		TProxyTable:    133,
		DNSPort:        15053,
		IncludedGroups: config.GroupSelection{All: true},
		LoopbackCIDR:   netip.MustParsePrefix("127.0.0.1/32"),
		IPv6:           IPv6Auto,
	}
	wantConfig(t, Default(), nil, want)
	for name, src := range map[string]config.Sources{
		"nothing given":             {},
		"no users known":            {Users: usersMap{}},
		"annotations without ours":  {Annotations: []byte("kubernetes.io/config.source=\"api\"\n")},
		"variables that are empty":  {Env: []string{"MESHTABLES_MODE=", "ENVOY_PORT=", "ENVOY_USER=", "ISTIO_INBOUND_PORTS="}},
		"variables of other things": {Env: []string{"PATH=/bin", "ENVOY_PORTS=1", "envoy_port=1", "=", ""}},
	} {
		c, warnings, err := read(t, nil, src)
		wantConfig(t, c, err, want)
		if len(warnings) > 0 {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	for _, o := range new(Options).Rows() {
		v := o.Value
		if err := v.Set(o.Default); err != nil {
			t.Errorf("default of --%s: %v", o.Name, err)
		}
		if v.String() != o.Default {
			t.Errorf("default of --%s: prints %q, is %q", o.Name, v.String(), o.Default)
		}
	}
}

// No name may stand for two options: the second would take the value of the
// first.
func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	claim := func(option, name string) {
		if name == "" {
			return
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%s belongs to --%s and --%s", name, other, option)
		}
		seen[name] = option
	}
	_, flags := newFlags()
	for _, o := range flags.Options() {
		claim(o.Name, "--"+o.Name)
		for _, name := range o.Reference {
			claim(o.Name, "--"+name)
		}
		claim(o.Name, o.Letter)
		for _, key := range o.Annotations {
			claim(o.Name, key)
		}
		for _, name := range o.Variables() {
			claim(o.Name, name)
		}
		if o.Usage == "" {
			t.Errorf("--%s has no usage", o.Name)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	fs, flags := newFlags()
	help := fs.FlagUsages()
	for _, o := range flags.Options() {
		if shown := strings.Contains(help, "--"+o.Name+" ") || strings.Contains(help, "--"+o.Name+"\n"); shown == o.Hidden {
			t.Errorf("--%s: shown %v, hidden %v", o.Name, shown, o.Hidden)
		}
		for _, name := range o.Reference {
			if strings.Contains(help, "--"+name) {
				t.Errorf("help shows --%s", name)
			}
		}
	}
}

func TestArgsOfDefault(t *testing.T) {
	t.Parallel()
	want := []string{
		"--outbound-port=15001", "--inbound-port=15006", "--tunnel-port=15008",
		"--proxy-uid=1337", "--proxy-gid=1337", "--mode=REDIRECT",
		"--included-ports=*", "--excluded-ports=15020,15021,15090",
		"--included-outbound-ports=", "--excluded-outbound-ports=",
		"--included-cidrs=*", "--excluded-cidrs=", "--excluded-source-cidrs=", "--excluded-uids=",
		"--excluded-interfaces=", "--virtual-interfaces=",
		"--tproxy-mark=1337", "--tproxy-table=133",
		"--redirect-dns=false", "--capture-all-dns=false", "--dns-port=15053", "--redirect-virtual-dns=false",
		"--included-groups=*", "--excluded-groups=",
		"--loopback-cidr=127.0.0.1/32", "--drop-invalid=false", "--ipv6=auto", "--comments=false",
	}
	if diff := cmp.Diff(want, Default().Args()); diff != "" {
		t.Errorf("wrong arguments (-want +got):\n%s", diff)
	}
}

// The arguments of a Config say everything, so no other source changes it.
func TestArgsOverrule(t *testing.T) {
	t.Parallel()
	src := config.Sources{
		Env: []string{"MESHTABLES_MODE=TPROXY", "ENVOY_USER=envoy", "ISTIO_DUAL_STACK=true", "INVALID_DROP=true"},
		Annotations: []byte(`traffic.sidecar.istio.io/excludeInboundPorts="80"` + "\n" +
			`status.sidecar.istio.io/port="9000"` + "\n"),
	}
	c, warnings, err := read(t, Default().Args(), src)
	wantConfig(t, c, err, Default())
	wantWarnings := []string{
		`--tproxy-mark "1337" has no effect: the mode is REDIRECT`,
		`--tproxy-table "133" has no effect: the mode is REDIRECT`,
		`--dns-port "15053" has no effect without --redirect-dns`,
	}
	if !slices.Equal(warnings, wantWarnings) {
		t.Errorf("warnings %q, want %q", warnings, wantWarnings)
	}
}
