package sidecar_test

import (
	"fmt"
	"net/netip"
	"slices"
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

// Every planned ruleset is recognised, down to the option behind each rule.
func TestRecognisePlanned(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			planned := form.IPTables(c.Config(t).Plan(c.Host()).Rules)
			found := sidecar.Recognise(policytest.WithoutOrigins(t, planned), form.IPTables)
			if diff := cmp.Diff(policytest.Describe(planned), policytest.Describe(found.Rules)); diff != "" {
				t.Errorf("planned (-), recognised (+):\n%s", diff)
			}
			if !found.Complete {
				t.Errorf("not recognised as complete; options found: %q", found.Wanted.(sidecar.Config).Args())
			}
		})
	}
}

// So is what the reference wrote, but for its rules in built-in chains, by which it
// exempts interfaces and does half of TPROXY.
func TestRecogniseReference(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			found := sidecar.Recognise(c.Ruleset(t), form.IPTables)
			for _, table := range found.Rules.Tables {
				for _, chain := range table.Chains {
					for i, r := range chain.Rules {
						if r.Origin == (iptables.Origin{}) && table.Name == iptables.Nat && sidecar.Ownership().Owns(chain.Name) {
							t.Errorf("%s %s %s %d: %s: no origin", table.Family, table.Name, chain.Name, i+1, r)
						}
					}
				}
			}
		})
	}
}

// A plan in the native form is recognised by the origins that it is stored with:
// the options found make the same rules.
func TestRecogniseNative(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			native := form.Native(c.Config(t).Plan(c.Host()).Rules)
			found := sidecar.Recognise(native, form.Native)
			if diff := cmp.Diff(policytest.Describe(native), policytest.Describe(found.Rules)); diff != "" {
				t.Errorf("planned (-), recognised (+):\n%s", diff)
			}
			if !found.Complete {
				again := form.Native(found.Wanted.(sidecar.Config).Plan(found.Host).Rules)
				t.Errorf("not recognised as complete; options found: %q\nplanned (-), again (+):\n%s",
					found.Wanted.(sidecar.Config).Args(), cmp.Diff(policytest.Describe(native), policytest.Describe(again)))
			}
		})
	}
}

// What others add to rules that are stored with their origins, or take away, changes
// the origin of no other rule.
func TestRecogniseNativeEdited(t *testing.T) {
	foreign := iptables.Rule{Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP}, Target: iptables.Accept}
	for name, edit := range map[string]func([]iptables.Rule) []iptables.Rule{
		"added":   func(rules []iptables.Rule) []iptables.Rule { return slices.Insert(rules, 0, foreign) },
		"removed": func(rules []iptables.Rule) []iptables.Rule { return rules[1:] },
	} {
		for _, c := range recorded.Cases(t) {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				edited := form.Native(c.Config(t).Plan(c.Host()).Rules)
				for _, table := range edited.Tables {
					for i := range table.Chains {
						chain := &table.Chains[i]
						if sidecar.Ownership().Owns(chain.Name) && len(chain.Rules) > 1 {
							chain.Rules = edit(chain.Rules)
						}
					}
				}
				found := sidecar.Recognise(edited, form.Native)
				if diff := cmp.Diff(policytest.Describe(edited), policytest.Describe(found.Rules)); diff != "" {
					t.Errorf("stored (-), recognised (+):\n%s", diff)
				}
			})
		}
	}
}

// Grouped ports are recognised, with the options of each group.
func TestRecogniseGrouped(t *testing.T) {
	cfg := sidecar.Default()
	cfg.IPv6, cfg.ExcludedPorts = sidecar.IPv6Off, nil
	for i := range uint16(form.LongList + 1) {
		cfg.ExcludedPorts = append(cfg.ExcludedPorts, iptables.Port(1000+2*i))
		cfg.ExcludedOutboundPorts = append(cfg.ExcludedOutboundPorts, iptables.Port(2000+2*i))
	}
	grouped := form.IPTables(cfg.Plan(host.Host{}).Rules)
	found := sidecar.Recognise(policytest.WithoutOrigins(t, grouped), form.IPTables)
	if diff := cmp.Diff(policytest.Describe(grouped), policytest.Describe(found.Rules)); diff != "" {
		t.Errorf("planned (-), recognised (+):\n%s", diff)
	}
	if diff := cmp.Diff(cfg.Args(), found.Wanted.(sidecar.Config).Args()); diff != "" {
		t.Errorf("options given (-), recognised (+):\n%s", diff)
	}
}

// Lists that are too long to be stored with a rule are read from the rule.
func TestRecogniseNativeLongLists(t *testing.T) {
	cfg := sidecar.Default()
	for i := range uint16(20) {
		last := byte(2 * i)
		cfg.ExcludedPorts = append(cfg.ExcludedPorts, iptables.Port(1000+2*i))
		cfg.ExcludedOutboundPorts = append(cfg.ExcludedOutboundPorts, iptables.Port(2000+2*i))
		cfg.ExcludedCIDRs = append(cfg.ExcludedCIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), 32))
		cfg.ExcludedSourceCIDRs = append(cfg.ExcludedSourceCIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, last}), 32))
		cfg.ExcludedGroups = append(cfg.ExcludedGroups, 3000+2*uint32(i))
		uid := 4000 + 2*uint32(i)
		cfg.ExcludedUIDs = append(cfg.ExcludedUIDs,
			sidecar.UserTraffic{Protocol: iptables.UDP, Ports: iptables.Port(53), First: uid, Last: uid})
		cfg.ExcludedInterfaces = append(cfg.ExcludedInterfaces, fmt.Sprintf("net%02d", i))
	}
	cfg.ExcludedPorts = cfg.ExcludedPorts[3:]
	cfg.IPv6 = sidecar.IPv6Off
	native := form.Native(cfg.Plan(host.Host{}).Rules)
	found := sidecar.Recognise(native, form.Native)
	if !found.Complete {
		t.Error("not recognised as complete")
	}
	if diff := cmp.Diff(cfg.Args(), found.Wanted.(sidecar.Config).Args()); diff != "" {
		t.Errorf("options given (-), recognised (+):\n%s", diff)
	}
}

func TestRecogniseExemptions(t *testing.T) {
	cfg := sidecar.Default()
	cfg.ExcludedSourceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	port := iptables.Port(53)
	cfg.ExcludedUIDs = []sidecar.UserTraffic{
		{First: 7, Last: 9}, {Protocol: iptables.TCP, First: 10, Last: 10},
		{Ports: port, First: 11, Last: 11}, {Protocol: iptables.UDP, Ports: port, First: 12, Last: 12},
		// The proxy's own user, once more.
		{First: 1337, Last: 1337},
	}
	for _, mode := range []sidecar.Mode{sidecar.ModeRedirect, sidecar.ModeTProxy} {
		cfg.Mode, cfg.IPv6 = mode, sidecar.IPv6On
		found := sidecar.Recognise(policytest.WithoutOrigins(t, form.IPTables(cfg.Plan(host.Host{}).Rules)), form.IPTables)
		if !found.Complete {
			t.Errorf("%s: not recognised as complete", mode)
		}
		if diff := cmp.Diff(cfg.Args(), found.Wanted.(sidecar.Config).Args()); diff != "" {
			t.Errorf("%s: options given (-), recognised (+):\n%s", mode, diff)
		}
	}
}

// An interface may be both: that of a virtual machine is outbound first.
func TestRecogniseInterfaces(t *testing.T) {
	for _, ports := range []string{"--included-ports=*", "--included-ports="} {
		cfg := recorded.Parse(t, nil, "--excluded-interfaces=net1,tap0", "--virtual-interfaces=tap0,tap1", ports)
		found := sidecar.Recognise(policytest.WithoutOrigins(t, form.IPTables(cfg.Plan(host.Host{}).Rules)), form.IPTables)
		if !found.Complete {
			t.Errorf("%s: not recognised as complete", ports)
		}
		if got := fmt.Sprint(found.Wanted.(sidecar.Config).ExcludedInterfaces, found.Wanted.(sidecar.Config).VirtualInterfaces); got != "[net1 tap0] [tap0 tap1]" {
			t.Errorf("%s: recognised %s", ports, got)
		}
	}
}

// The order of users is that of nat, although raw has rules for some of them too.
func TestRecogniseOrderOfUsers(t *testing.T) {
	cfg := recorded.Parse(t, nil, "--redirect-dns", "--capture-all-dns", "--excluded-uids=tcp:80:1000,1000-1001,udp:7:1000")
	for form, of := range map[string]func(iptables.Plan) iptables.Ruleset{"sets": form.Native, "multiport": form.IPTables} {
		found := sidecar.Recognise(of(cfg.Plan(host.Host{}).Rules), of)
		if !found.Complete || !slices.Equal(found.Wanted.(sidecar.Config).ExcludedUIDs, cfg.ExcludedUIDs) {
			t.Errorf("%s: complete %v, recognised %v", form, found.Complete, found.Wanted.(sidecar.Config).ExcludedUIDs)
		}
	}
}

// Every address is a list's item that makes a rule without an address.
func TestRecogniseEveryAddress(t *testing.T) {
	for args, want := range map[string]string{
		"--ipv6=off --excluded-source-cidrs=0.0.0.0/0":                           "",
		"--ipv6=off --mode=TPROXY --excluded-source-cidrs=10.0.0.0/8,0.0.0.0/0":  "",
		"--ipv6=on --excluded-source-cidrs=::/0":                                 "",
		"--ipv6=on --mode=TPROXY --excluded-source-cidrs=0.0.0.0/0,::/0":         "",
		"--ipv6=off --excluded-cidrs=0.0.0.0/0":                                  "",
		"--ipv6=off --excluded-cidrs=0.0.0.0/0 --included-cidrs=10.0.0.0/8":      "",
		"--ipv6=on --excluded-cidrs=10.0.0.0/8,0.0.0.0/0,fd00::/8":               "",
		"--ipv6=on --excluded-cidrs=0.0.0.0/0,::/0":                              "",
		"--ipv6=off --included-cidrs=0.0.0.0/0,10.0.0.0/8":                       "",
		"--ipv6=on --included-cidrs=10.0.0.0/8,0.0.0.0/0,::/0":                   "",
		"--ipv6=on --included-cidrs=0.0.0.0/0":                                   "",
		"--ipv6=on --included-cidrs=::/0 --virtual-interfaces=tap0":              "",
		"--ipv6=on --included-cidrs=0.0.0.0/0,::/0":                              "--ipv6=on",
		"--ipv6=off --included-cidrs=0.0.0.0/0 --included-outbound-ports=80,443": "--ipv6=off --included-outbound-ports=80,443",
	} {
		t.Run(args, func(t *testing.T) {
			cfg := recorded.Parse(t, nil, strings.Fields(args)...)
			if want == "" {
				want = args
			}
			planned := cfg.Plan(host.Host{}).Rules
			found := sidecar.Recognise(policytest.WithoutOrigins(t, form.IPTables(planned)), form.IPTables)
			if !found.Complete {
				t.Error("not recognised as complete")
			}
			if diff := cmp.Diff(recorded.Parse(t, nil, strings.Fields(want)...).Args(), found.Wanted.(sidecar.Config).Args()); diff != "" {
				t.Errorf("options wanted (-), recognised (+):\n%s", diff)
			}
			native := sidecar.Recognise(form.Native(planned), form.Native)
			if !native.Complete {
				t.Error("not recognised as complete in the native form")
			}
			if diff := cmp.Diff(cfg.Args(), native.Wanted.(sidecar.Config).Args()); diff != "" {
				t.Errorf("options given (-), recognised in the native form (+):\n%s", diff)
			}
		})
	}
}

// A rule of the native form that is one for both families is stored with what it
// comes from in one of them, and a list is cut short that has all addresses in parts.
func TestRecogniseEveryAddressOfBothFamilies(t *testing.T) {
	cfg := recorded.Parse(t, nil, "--ipv6=on", "--excluded-source-cidrs=0.0.0.0/0,::/0", "--included-cidrs=0.0.0.0/0,::/0",
		"--excluded-cidrs=10.0.0.1,10.0.0.3,10.0.0.5,10.0.0.7,10.0.0.9,10.0.0.11,10.0.0.13,0.0.0.0/1,128.0.0.0/1,::/0")
	planned := form.Native(cfg.Plan(host.Host{}).Rules)
	stored := planned.Map(func(c *iptables.Chain, r iptables.Rule) iptables.Rule {
		for _, four := range planned.Table(iptables.IPv4, iptables.Nat).Chain(c.Name).Rules {
			if four.Equal(r) {
				r.Origin = four.Origin
			}
		}
		return r
	})
	found := sidecar.Recognise(stored, form.Native)
	if !found.Complete {
		t.Errorf("not recognised as complete; options found: %q", found.Wanted.(sidecar.Config).Args())
	}
	every := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for option, list := range map[string][]netip.Prefix{
		"--excluded-source-cidrs": found.Wanted.(sidecar.Config).ExcludedSourceCIDRs,
		"--excluded-cidrs":        found.Wanted.(sidecar.Config).ExcludedCIDRs,
		"--included-cidrs":        found.Wanted.(sidecar.Config).IncludedCIDRs.CIDRs,
	} {
		if !slices.Equal(list, every) {
			t.Errorf("%s: recognised %v", option, list)
		}
	}
}

func TestRecogniseForeign(t *testing.T) {
	planned := form.IPTables(recorded.Cases(t)[0].Config(t).Plan(recorded.Cases(t)[0].Host()).Rules)
	nat := planned.Table(iptables.IPv4, iptables.Nat)
	nat.Append(iptables.Output, iptables.Rule{Target: iptables.Accept})
	if found := sidecar.Recognise(planned, form.IPTables); !found.Complete {
		t.Error("a foreign rule makes it incomplete")
	}
	nat.Append("ISTIO_OUTPUT", iptables.Rule{Target: iptables.Accept})
	if found := sidecar.Recognise(planned, form.IPTables); found.Complete {
		t.Error("a rule that no option makes goes unnoticed")
	}
}
