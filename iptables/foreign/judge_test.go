package foreign_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
)

func parse(t *testing.T, text string) []iptables.Table {
	t.Helper()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// planned returns the rules for IPv4 that a configuration makes.
func planned(change func(*sidecar.Config)) iptables.Ruleset {
	cfg := sidecar.Default()
	cfg.IPv6, cfg.RedirectDNS, cfg.CaptureAllDNS = sidecar.IPv6Off, true, true
	if change != nil {
		change(&cfg)
	}
	return form.IPTables(cfg.Plan(host.Host{}).Rules)
}

// beside returns our rules with those of others at the end of each built-in chain or, before
// a line that is "ours", at its start.
func beside(t *testing.T, ours iptables.Ruleset, text string) iptables.Ruleset {
	t.Helper()
	rs := iptables.Ruleset{Tables: parse(t, text)}
	for _, o := range ours.Tables {
		to := rs.Table(o.Family, o.Name)
		if to == nil {
			rs.Tables = append(rs.Tables, o)
			continue
		}
		for _, c := range o.Chains {
			if known := to.Chain(c.Name); known != nil {
				known.Rules = append(known.Rules, c.Rules...)
			} else {
				to.Chains = append(to.Chains, c)
			}
		}
	}
	return rs
}

// situation returns our rules in nf_tables, with rules of others before them there, and in
// the legacy tables.
func situation(t *testing.T, ours iptables.Ruleset, before, legacy string) foreign.Situation {
	t.Helper()
	own := sidecar.Ownership()
	n := &installed.Namespace{Ownership: own, Backends: []installed.Backend{
		{Form: installed.NFT, Rules: beside(t, ours, before), Ownership: own},
		{Form: installed.Legacy, Rules: iptables.Ruleset{Tables: parse(t, legacy)}, Ownership: own},
	}}
	path := n.Path(installed.NFT)
	return foreign.Situation{
		Path: &path, Addresses: []netip.Prefix{netip.MustParsePrefix("10.244.1.7/24")}, Interfaces: []string{"eth0"},
		Proxy: func(iptables.Family) explain.Proxy {
			return explain.Proxy{Owner: &iptables.SocketOwner{UID: 1337, GID: 1337}}
		},
	}
}

// What foreign rules do to traffic that ours capture is found, and nothing else.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, legacy string
		want           []string
	}{
		"nothing":             {"", "", nil},
		"harmless":            {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j LOG\n-A OUTPUT -p tcp -m mark --mark 0x1 -j ACCEPT\n-A OUTPUT -p icmp -j ACCEPT\nCOMMIT\n", "", nil},
		"of the proxy":        {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -m owner --uid-owner 1337 -j ACCEPT\nCOMMIT\n", "", nil},
		"not here":            {"*nat\n:PREROUTING ACCEPT\n-A PREROUTING -i docker0 -j ACCEPT\n-A PREROUTING -d 10.96.0.1/32 -p tcp -j DNAT --to-destination 10.0.0.1:80\nCOMMIT\n", "", nil},
		"an empty chain":      {"*nat\n:OUTPUT ACCEPT\n:KUBE-NODEPORTS -\n-A OUTPUT -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT\n", "", nil},
		"one port":            {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m tcp --dport 443 -j ACCEPT\nCOMMIT\n", "", []string{"IPv4 out, tcp to port 443: exempted by foreign rule 1 of nat OUTPUT: -p tcp -m tcp --dport 443 -j ACCEPT"}},
		"a service":           {"*nat\n:OUTPUT ACCEPT\n:SVC -\n-A OUTPUT -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j SVC\n-A SVC -j DNAT --to-destination 10.0.0.1:6443\nCOMMIT\n", "", []string{"IPv4 out, tcp to 10.96.0.1, to port 443: sent elsewhere by foreign rule 1 of nat SVC: -j DNAT --to-destination 10.0.0.1:6443"}},
		"the proxy's port":    {"*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 15006 -j DROP\nCOMMIT\n", "", []string{"IPv4 in, tcp: dropped on its way to the proxy by foreign rule 1 of filter INPUT: -p tcp -m tcp --dport 15006 -j DROP"}},
		"some clients":        {"*filter\n:INPUT ACCEPT\n-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 15006 -j DROP\nCOMMIT\n", "", []string{"IPv4 in, tcp from 10.0.0.1: dropped on its way to the proxy by foreign rule 1 of filter INPUT: -s 10.0.0.0/8 -p tcp -m tcp --dport 15006 -j DROP"}},
		"untracked":           {"*raw\n:OUTPUT ACCEPT\n-A OUTPUT -p udp -j CT --notrack\nCOMMIT\n", "", []string{"IPv4 out, dns: kept from connection tracking, and so from nat, by foreign rule 1 of raw OUTPUT: -p udp -j CT --notrack"}},
		"answers":             {"*filter\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m tcp --sport 15006 -j DROP\nCOMMIT\n", "", []string{"IPv4 in, tcp: the proxy's answer is lost by foreign rule 1 of filter OUTPUT: -p tcp -m tcp --sport 15006 -j DROP"}},
		"answers to clients":  {"*filter\n:OUTPUT ACCEPT\n-A OUTPUT -d 10.0.0.0/8 -p tcp -m tcp --sport 15006 -j DROP\nCOMMIT\n", "", []string{"IPv4 in, tcp from 10.0.0.1: the proxy's answer is lost by foreign rule 1 of filter OUTPUT: -d 10.0.0.0/8 -p tcp -m tcp --sport 15006 -j DROP"}},
		"answers from a port": {"*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m tcp --sport 443 -j DROP\nCOMMIT\n", "", []string{"IPv4 out, tcp to port 443: the proxy's answer is lost by foreign rule 1 of filter INPUT: -p tcp -m tcp --sport 443 -j DROP"}},
		"later packets":       {"*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 15006 -m conntrack --ctstate ESTABLISHED -j DROP\nCOMMIT\n", "", []string{"IPv4 in, tcp: its later packets are dropped by foreign rule 1 of filter INPUT: -p tcp -m tcp --dport 15006 -m conntrack --ctstate ESTABLISHED -j DROP"}},
		"a firewall":          {"*filter\n:INPUT DROP\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 15006 -j ACCEPT\nCOMMIT\n", "", nil},
		"a policy": {"*filter\n:INPUT DROP\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n", "", []string{
			"IPv4 in, tcp: dropped on its way to the proxy by foreign policy DROP of filter INPUT"}},
		"legacy": {"", "*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", []string{"IPv4 out, tcp: sent elsewhere by foreign rule 1 of legacy nat OUTPUT: -p tcp -j REDIRECT --to-ports 9 (it may come first)"}},
		"a user": {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -m owner --uid-owner 33 -j RETURN\nCOMMIT\n", "", []string{"IPv4 out, tcp of user 33: exempted by foreign rule 1 of nat OUTPUT: -m owner --uid-owner 33 -j RETURN", "IPv4 out, dns of user 33: exempted by foreign rule 1 of nat OUTPUT: -m owner --uid-owner 33 -j RETURN"}},
		"by chance": {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p udp -m statistic --mode random --probability 0.50000000000 -j ACCEPT\nCOMMIT\n", "", []string{
			"IPv4 out, dns: sometimes exempted by foreign rule 1 of nat OUTPUT: -p udp -m statistic --mode random --probability 0.50000000000 -j ACCEPT"}},
		"unknown": {"*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 15006 -m string --string x -j DROP\nCOMMIT\n", "", []string{
			"IPv4 in, tcp: cannot tell: it depends on -m string --string x (foreign rule 1 of filter INPUT: -p tcp -m tcp --dport 15006 -m string --string x -j DROP)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range foreign.Judge(situation(t, planned(nil), test.before, test.legacy)) {
				got = append(got, f.String())
				if f.IsHarm() == strings.Contains(f.String(), "cannot tell") {
					t.Errorf("harm: %t", f.IsHarm())
				}
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Marks that others set can make our rules leave a packet alone.
func TestJudgeTProxy(t *testing.T) {
	t.Parallel()
	ours := planned(func(c *sidecar.Config) { c.Mode = sidecar.ModeTProxy })
	s := situation(t, ours, "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp -j MARK --set-xmark 0x539/0xffffffff\nCOMMIT\n", "")
	findings := foreign.Judge(s)
	if len(findings) == 0 || !strings.Contains(findings[0].String(), "foreign rule 1 of mangle PREROUTING: -p tcp -j MARK") {
		t.Errorf("got %v", findings)
	}
}

// Ordinary traffic that damaged rules let go is a breach, with the rule that is missing.
func TestBreaches(t *testing.T) {
	t.Parallel()
	meant := planned(nil)
	damaged := planned(nil)
	c := damaged.Table(iptables.IPv4, iptables.Nat).Chain(iptables.Prerouting)
	c.Rules = nil
	s := situation(t, damaged, "", "*filter\n:OUTPUT DROP\nCOMMIT\n")
	intended := explain.NewIntended(s.Path, meant, false)
	var got []string
	for _, b := range foreign.Breaches(s, intended, sidecar.Policy{}) {
		got = append(got, b.Direction+" "+b.String())
	}
	want := []string{
		"in IPv4 tcp: the rules are damaged: rule 1 of nat PREROUTING is missing: -p tcp -j ISTIO_INBOUND",
		"out IPv4 tcp: it is dropped on its way to the proxy by foreign policy DROP of legacy filter OUTPUT",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
