package routes

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Only an address with a routing table of its own needs rules: a table by which what comes in by
// an interface goes, and in which the same interface leads to the address.
func TestBehind(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		commands []string
		want     []string
		err      error
	}{
		"in the table of all":              {[]string{"route add 10.1.0.7 dev pod0", "rule add pref 10 iif pod0 lookup 101"}, nil, nil},
		"in a table that nothing leads to": {[]string{"route add 10.1.0.7 dev pod0 table 101", "rule add pref 10 iif cloud0 lookup 101", "rule add pref 11 from 10.1.0.7 lookup 101"}, nil, nil},
		"another's table":                  {[]string{"route add 10.1.0.8 dev pod0 table 101", "rule add pref 10 iif pod0 lookup 101"}, nil, nil},
		"by its network":                   {[]string{"route add 10.1.0.0/24 dev pod0 table 101", "rule add pref 10 iif pod0 lookup 101"}, nil, nil},
		"a table of its own": {[]string{"route add 10.1.0.7 dev pod0 table 101", "rule add pref 10 iif cloud0 lookup 101", "rule add pref 10 iif pod0 lookup 101"},
			[]string{"ip rule add priority 512 to 10.1.0.7/32 lookup 101 protocol 109", "ip rule add priority 9 iif pod0 lookup local protocol 109"}, nil},
		"no place before": {[]string{"route add 10.1.0.7 dev pod0 table 101", "rule add pref 1 iif pod0 lookup 101"}, nil, ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			for _, command := range append([]string{
				"link add pod0 type veth peer name pod1", "link set pod0 up", "link add cloud0 type veth peer name cloud1", "link set cloud0 up",
			}, test.commands...) {
				nstest.Run(t, "ip", strings.Fields(command)...)
			}
			ns := nstest.Here(t)
			want := iptables.Routing{Behind: []netip.Addr{netip.MustParseAddr("10.1.0.7")}}
			diff := func() Changes {
				there, err := Read(t.Context(), ns, iptables.Ownership{})
				if err != nil {
					t.Fatal(err)
				}
				changes, err := there.Diff(want)
				if !errors.Is(err, test.err) {
					t.Fatalf("got %v, %v", changes, err)
				}
				if commands, err := there.Commands(want); !errors.Is(err, test.err) || !slices.Equal(commands, test.want) {
					t.Errorf("commands: got %q, %v", commands, err)
				}
				return changes
			}
			changes := diff()
			var got []string
			for _, c := range changes {
				got = append(got, c.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err := changes.Apply(t.Context(), ns); err != nil {
				t.Fatal(err)
			}
			if again := diff(); len(again) > 0 {
				t.Errorf("again: %v", again)
			}
			want = iptables.Routing{}
			test.want, test.err = nil, nil
			if n := len(diff()); n != len(got) {
				t.Errorf("removal makes %d changes", n)
			}
		})
	}
}
