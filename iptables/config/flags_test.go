package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/spf13/pflag"
)

// own are options such as cmd/meshtables has.
type own struct {
	dryRun  bool
	backend string
	file    string
}

func (o *own) register(flags *Flags) {
	flags.Register(Row{Option{Name: "dry-run", Shared: true, Letter: "n", Usage: "print"}, Bool(&o.dryRun)})
	flags.Register(Row{Option{Name: "backend", Reference: []string{"force-binary", "binary"}, Env: []string{"FORCED"}, Usage: "how"},
		Choice("backend", &o.backend, "auto", "nft", "legacy")})
	flags.Register(Row{Option{Name: "annotations", Hidden: true, Usage: "file"}, Text("file", &o.file)})
}

func TestRegister(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args, env []string
		want      own
		err       string
	}{
		"default":              {want: own{backend: "auto"}},
		"flags":                {args: []string{"-n", "--backend=nft", "--annotations=/x"}, want: own{true, "nft", "/x"}},
		"reference's names":    {args: []string{"--force-binary=nft", "--binary", "legacy"}, want: own{backend: "legacy"}},
		"environment":          {env: []string{"DRY_RUN=1", "FORCED=nft", "MESHTABLES_ANNOTATIONS=/y"}, want: own{true, "nft", "/y"}},
		"reference's variable": {env: []string{"FORCE_BINARY=nft", "BINARY="}, want: own{backend: "nft"}},
		"flag first":           {args: []string{"--backend=nft"}, env: []string{"MESHTABLES_BACKEND=legacy"}, want: own{backend: "nft"}},
		"all errors": {
			args: []string{"--dry-run=x", "-p", "http", "--binary", "nope"},
			want: own{backend: "auto"},
			err:  "--dry-run \"x\": must be true or false\n--binary \"nope\": must be auto, nft or legacy",
		},
		"errors in the environment": {
			env:  []string{"DRY_RUN=x", "MESHTABLES_BACKEND=nft", "FORCED=legacy"},
			want: own{backend: "legacy"},
			err: "environment variable DRY_RUN \"x\": must be true or false\n" +
				`environment variable MESHTABLES_BACKEND "nft" and environment variable FORCED "legacy": must be the same, because they are one option`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, flags, _ := newFlags()
			got := own{backend: "auto"}
			got.register(flags)
			if err := fs.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			message := ""
			if err := flags.Apply(test.env); err != nil {
				message = err.Error()
			}
			if message != test.err {
				t.Errorf("error %q, want %q", message, test.err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(own{})); diff != "" {
				t.Errorf("wrong values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegisterShowsDefault(t *testing.T) {
	t.Parallel()
	fs, flags, _ := newFlags()
	o := own{backend: "auto"}
	o.register(flags)
	help := fs.FlagUsages()
	for _, want := range []string{"-n, --dry-run ", "--backend backend", "how (default auto)"} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q:\n%s", want, help)
		}
	}
	if strings.Contains(help, "--annotations") {
		t.Error("help shows a hidden option")
	}
	if got := len(flags.Options()); got != len(new(policy).rows())+3 {
		t.Errorf("%d options", got)
	}
}

// Another user of the flag set may normalize names too.
func TestNormalizeIsComposed(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	other := fs.Bool("other_flag", false, "")
	var p policy
	flags := NewFlags(fs, p.rows())
	if err := fs.Parse([]string{"--envoy_port=1", "--other-flag", "--inbound_port=2"}); err != nil {
		t.Fatal(err)
	}
	if err := flags.Read(Sources{}).Err(); err != nil || p.outboundPort != 1 || p.inboundPort != 2 {
		t.Errorf("error %v, ports %d and %d", err, p.outboundPort, p.inboundPort)
	}
	if !*other {
		t.Error("--other-flag is not set")
	}
	if !fs.Changed("envoy-port") || !fs.Changed("outbound-port") {
		t.Error("the two names are not one flag")
	}
}

func TestGiven(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args, env []string
		file      string
		want      string
	}{
		"nowhere":  {},
		"flag":     {args: []string{"--backend=auto"}, env: []string{"MESHTABLES_BACKEND=nft"}, file: "backend: legacy", want: `--backend "auto"`},
		"variable": {env: []string{"MESHTABLES_BACKEND=nft"}, file: "backend: legacy", want: `environment variable MESHTABLES_BACKEND "nft"`},
		"file":     {file: "backend: legacy", want: `configuration file f, line 1, backend "legacy"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, flags, _ := newFlags()
			var o own
			o.register(flags)
			if err := fs.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			if err := flags.AddFile("f", []byte(test.file)); err != nil {
				t.Fatal(err)
			}
			if err := flags.Apply(test.env); err != nil {
				t.Fatal(err)
			}
			if got := flags.Given("backend"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Another reference's names are flags and nothing else. Lists of several flags add up, and a
// flag may have a meaning without a value.
func TestNamesOfFlags(t *testing.T) {
	t.Parallel()
	type options struct {
		ports []iptables.PortRange
		when  string
	}
	for name, test := range map[string]struct {
		args, env, file string
		want            options
		err             string
	}{
		"by name":           {args: "--ports=80", want: options{ports: []iptables.PortRange{iptables.Port(80)}}},
		"by the other name": {args: "--ports-to-take=80", want: options{ports: []iptables.PortRange{iptables.Port(80)}}},
		"several times":     {args: "--ports-to-take 80 --ports= --ports 81,82", want: options{ports: []iptables.PortRange{iptables.Port(80), iptables.Port(81), iptables.Port(82)}}},
		"empty first":       {args: "--ports= --ports 81", want: options{ports: []iptables.PortRange{iptables.Port(81)}}},
		"no variable":       {env: "PORTS_TO_TAKE=80"},
		"ours":              {env: "MESHTABLES_PORTS=80", want: options{ports: []iptables.PortRange{iptables.Port(80)}}},
		"not in a file":     {file: "ports-to-take: 80", err: `configuration file x, line 1, ports-to-take "80": in a file its name is ports`},
		"bare":              {args: "--when --ports 80", want: options{ports: []iptables.PortRange{iptables.Port(80)}, when: "on"}},
		"with a value":      {args: "--when=false", want: options{when: "off"}},
		"wrong":             {args: "--ports=80 --ports-to-take=x", err: `--ports-to-take "80,x": must be ports such as 80 or 8000-8010, separated by commas; "x" is not a port or a range of ports`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got options
			set := pflag.NewFlagSet("", pflag.ContinueOnError)
			flags := NewFlags(set, []Row{
				{Option{Name: "ports", FlagNames: []string{"ports-to-take"}, AddsUp: true}, Ports(&got.ports)},
				{Option{Name: "when", Bare: "true"}, WithSynonyms(Choice("when", &got.when, "", "on", "off"), map[string]string{"true": "on", "false": "off"})},
			})
			if err := set.Parse(strings.Fields(test.args)); err != nil {
				t.Fatal(err)
			}
			err := flags.AddFile("x", []byte(test.file))
			if err == nil {
				err = flags.Read(Sources{Env: []string{test.env}}).Err()
			}
			if message := fmt.Sprint(err); test.err == "" && err != nil || test.err != "" && message != test.err {
				t.Fatalf("got %s, want %s", message, test.err)
			}
			if diff := cmp.Diff(test.want.ports, got.ports); test.err == "" && (diff != "" || got.when != test.want.when) {
				t.Errorf("when %q, ports want (-), got (+):\n%s", got.when, diff)
			}
			if replaced := flags.Replaced(); replaced != nil {
				t.Errorf("got %q", replaced)
			}
		})
	}
}
