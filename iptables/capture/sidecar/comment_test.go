package sidecar_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
)

// With --comments every rule has its origin as a comment, and nothing else is
// different.
func TestComments(t *testing.T) {
	c := planArgs(t, nil, "--comments", "--excluded-interfaces=net1", "--excluded-ports=", "--included-ports=80,443", "--included-cidrs=")
	for _, test := range []struct {
		chain string
		want  []string
	}{
		{iptables.Prerouting, []string{
			`-m comment --comment "built-in (inbound)" -j ISTIO_PREROUTING # built-in (inbound)`,
		}},
		{"ISTIO_PREROUTING", []string{
			`-i net1 -m comment --comment "--excluded-interfaces=net1" -j RETURN # --excluded-interfaces=net1`,
			`-p tcp -m comment --comment "--included-ports=80,443" -j ISTIO_INBOUND # --included-ports=80,443`,
		}},
		{"ISTIO_INBOUND", []string{
			`-p tcp -m tcp --dport 15008 -m comment --comment "--tunnel-port=15008" -j RETURN # --tunnel-port=15008`,
			`-p tcp -m tcp --dport 80 -m comment --comment "--included-ports=80" -j ISTIO_IN_REDIRECT # --included-ports=80`,
			`-p tcp -m tcp --dport 443 -m comment --comment "--included-ports=443" -j ISTIO_IN_REDIRECT # --included-ports=443`,
		}},
	} {
		if diff := cmp.Diff(test.want, rules(c, iptables.IPv4, iptables.Nat, test.chain)); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", test.chain, diff)
		}
	}
}

func TestCommentsOfEveryPlan(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			cfg := c.Config(t)
			plain := cfg.Plan(c.Host())
			cfg.Comments = true
			commented := cfg.Plan(c.Host())
			if err := commented.Rules.Validate(); err != nil {
				t.Error(err)
			}
			written, want := form.IPTables(commented.Rules), policytest.Describe(form.IPTables(plain.Rules))
			for i, line := range policytest.Describe(written) {
				origin := want[i]
				origin = origin[strings.LastIndex(origin, " # ")+3:]
				if !strings.Contains(line, "-m comment --comment "+saved(origin)) {
					t.Errorf("the comment of %s is not its origin", line)
				}
			}
			if diff := cmp.Diff(want, policytest.Describe(written.Uncommented())); diff != "" {
				t.Errorf("without comments (-), with, and these taken out (+):\n%s", diff)
			}
		})
	}
}

// saved is an origin as iptables-save prints it.
func saved(origin string) string {
	if strings.Trim(origin, "-abcdefghijklmnopqrstuvwxyz") == "" {
		return origin
	}
	return `"` + origin + `"`
}

// A list that is longer than a comment may be is cut, and says so.
func TestCommentOfLongList(t *testing.T) {
	var ports []string
	for port := range 100 {
		ports = append(ports, strconv.Itoa(8000+port))
	}
	c := planArgs(t, nil, "--comments", "--included-ports="+strings.Join(ports, ","))
	got := rules(c, iptables.IPv4, iptables.Nat, iptables.Prerouting)
	want := `-p tcp -m comment --comment "--included-ports=` + strings.Join(ports[:44], ",") + `,... (100 values)" -j ISTIO_INBOUND`
	if len(got) != 1 || !strings.HasPrefix(got[0], want+" #") {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Rules.Validate(); err != nil {
		t.Error(err)
	}
}

// All groups of a list are found in their one rule, of which the comment has some.
func TestRecogniseCommentedGroups(t *testing.T) {
	cfg := sidecar.Default()
	cfg.Comments, cfg.IPv6, cfg.IncludedGroups.All = true, sidecar.IPv6Off, false
	for gid := range uint32(sidecar.MaxIncludedGroups) {
		cfg.IncludedGroups.Groups = append(cfg.IncludedGroups.Groups, 10001+2*gid)
	}
	found := sidecar.Recognise(policytest.WithoutOrigins(t, form.IPTables(cfg.Plan(host.Host{}).Rules)), form.IPTables)
	if !found.Complete {
		t.Error("not recognised as complete")
	}
	if diff := cmp.Diff(cfg.IncludedGroups, found.Wanted.(sidecar.Config).IncludedGroups); diff != "" {
		t.Errorf("groups given (-), recognised (+):\n%s", diff)
	}
}

// Comments tell no other options than the rules do, and are no part of them.
func TestRecogniseCommented(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			cfg := c.Config(t)
			plain := sidecar.Recognise(policytest.WithoutOrigins(t, form.IPTables(cfg.Plan(c.Host()).Rules)), form.IPTables)
			cfg.Comments = true
			commented := sidecar.Recognise(policytest.WithoutOrigins(t, form.IPTables(cfg.Plan(c.Host()).Rules)), form.IPTables)
			if diff := cmp.Diff(policytest.Describe(plain.Rules), policytest.Describe(commented.Rules)); diff != "" {
				t.Errorf("recognised without comments (-), with (+):\n%s", diff)
			}
			if !slices.Equal(plain.Wanted.(sidecar.Config).Args(), commented.Wanted.(sidecar.Config).Args()) || plain.Complete != commented.Complete {
				t.Errorf("options %q, with comments %q", plain.Wanted.(sidecar.Config).Args(), commented.Wanted.(sidecar.Config).Args())
			}
		})
	}
}

// A rule that no option makes any more still says what it came from.
func TestRecogniseByComment(t *testing.T) {
	planned := form.IPTables(planArgs(t, nil, "--comments").Rules)
	planned.Table(iptables.IPv4, iptables.Nat).Append("ISTIO_INBOUND", iptables.Rule{
		Target: iptables.Return, Origin: iptables.Origin{Option: "--of-another-version", Value: "1"},
	}.Commented())
	found := sidecar.Recognise(policytest.WithoutOrigins(t, planned), form.IPTables).Rules
	inbound := found.Table(iptables.IPv4, iptables.Nat).Chain("ISTIO_INBOUND").Rules
	if last := inbound[len(inbound)-1]; last.String() != "-j RETURN" || last.Origin.String() != "--of-another-version=1" {
		t.Errorf("got %s from %s", last, last.Origin)
	}
}
