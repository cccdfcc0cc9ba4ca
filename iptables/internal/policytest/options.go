package policytest

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// Options are those of a policy whose configuration is a C.
type Options[C any] interface {
	Rows() []config.Row
	Read(*config.Flags, config.Sources) (C, []string, error)
}

// Read returns what arguments and sources come to; the arguments have to parse.
func Read[C any](t *testing.T, o Options[C], args []string, src config.Sources) (C, []string, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	flags := config.NewFlags(fs, o.Rows())
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parsing %q: %v", args, err)
	}
	return o.Read(flags, src)
}

// WantError fails unless an error has these lines.
func WantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// Ports returns ports and ranges of them from their texts, which must be valid.
func Ports(texts ...string) []iptables.PortRange {
	var all []iptables.PortRange
	for _, text := range texts {
		p, err := iptables.ParsePortRange(text)
		if err != nil {
			panic(err)
		}
		all = append(all, p)
	}
	return all
}
