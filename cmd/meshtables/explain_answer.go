package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/follow"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/trace"
)

// explanation is the answer of explain about a connection.
type explanation struct {
	Verdict explain.Verdict `json:"verdict"`
	// Port is where the proxy gets the connection; 0 if it does not.
	Port uint16 `json:"port"`
	// ByRules is the rules' verdict if the kernel did something else.
	ByRules *byRules `json:"byRules,omitempty"`
	// Listening says whether a socket takes the connection at the port. It is there if the
	// answer is about installed rules and names a port.
	Listening *bool `json:"listening,omitempty"`
	// Undelivered says why the routing does not deliver what TPROXY has marked.
	Undelivered string `json:"undelivered,omitempty"`
	// Mark, CTMark and Zone are the values after the rules.
	Mark   uint32 `json:"mark"`
	CTMark uint32 `json:"ctmark"`
	Zone   uint16 `json:"zone"`

	Packet  askedPacket      `json:"packet"`
	Path    []pathStep       `json:"path"`
	Reasons []explain.Reason `json:"reasons,omitempty"`
	// Interceptors are BPF programs of others that may do something else with it than the rules.
	Interceptors *interceptor.Found `json:"interceptors,omitempty"`
	// Trace is what the kernel says.
	Trace *traced `json:"trace,omitempty"`
	// Probe is the way of a health probe, if the packet is one.
	Probe *follow.Way `json:"probe,omitempty"`
	// Also are the answers for other families, if the question names no address.
	Also []explanation `json:"also,omitempty"`

	before iptables.Packet
	// onNode says that the rules are those of a node, which capture nothing.
	onNode bool
	// result is that of the rules.
	result explain.Result
	// arrival is where the connection arrives if only other addresses of its port have sockets,
	// and mend how to have the proxy listen there.
	arrival netip.AddrPort
	mend    string
}

// byRules is a verdict as the rules have it.
type byRules struct {
	Verdict explain.Verdict `json:"verdict"`
	Port    uint16          `json:"port"`
}

// askedPacket is the packet that was asked about, complete.
type askedPacket struct {
	Family   string            `json:"family"`
	Protocol iptables.Protocol `json:"protocol"`
	From     netip.AddrPort    `json:"from"`
	To       netip.AddrPort    `json:"to"`
	In       string            `json:"in,omitempty"`
	Out      string            `json:"out,omitempty"`
	UID      *uint32           `json:"uid,omitempty"`
	GID      *uint32           `json:"gid,omitempty"`
	Mark     uint32            `json:"mark"`
	CTMark   uint32            `json:"ctmark"`
	CTState  string            `json:"ctstate"`
	// Assumed are the options, or parts of the question, that were left open.
	Assumed []string `json:"assumed,omitempty"`
}

// pathStep is a rule that the packet matched.
type pathStep struct {
	// Hook is the built-in chain by which the packet entered; empty in a trace, as
	// the kernel does not report it.
	Hook  string `json:"hook,omitempty"`
	Table string `json:"table"`
	Chain string `json:"chain"`
	// Position counts from 1; 0 is the chain's policy.
	Position int    `json:"position"`
	Rule     string `json:"rule"`
	// Origin is the option behind the rule, empty for foreign rules.
	Origin string `json:"origin"`
}

func newExplanation(p iptables.Packet, r explain.Result, reasons []explain.Reason) explanation {
	e := explanation{
		Verdict: r.Verdict, Port: r.Port, Mark: r.Mark, CTMark: r.ConnMark, Zone: r.Zone,
		Packet: askedPacket{
			Family: p.Family().String(), Protocol: p.Protocol,
			From: netip.AddrPortFrom(p.Source, p.SourcePort), To: netip.AddrPortFrom(p.Destination, p.DestinationPort),
			In: p.In, Out: p.Out, Mark: p.Mark, CTMark: p.ConnMark, CTState: p.State.String(),
		},
		Path:    []pathStep{},
		Reasons: reasons,
		before:  p,
	}
	if p.Owner != nil {
		e.Packet.UID, e.Packet.GID = &p.Owner.UID, &p.Owner.GID
	}
	for _, s := range r.Path {
		rule := s.Rule.String()
		if s.Position == 0 {
			rule = "policy " + string(iptables.Drop)
		}
		e.Path = append(e.Path, pathStep{s.Hook, s.Table, s.Chain, s.Position, rule, s.Rule.Origin.String()})
	}
	return e
}

func (e explanation) text(w io.Writer) {
	fmt.Fprintf(w, "%s\n", fate(e.Verdict, e.Port))
	if e.ByRules != nil {
		fmt.Fprintf(w, "  %s\n", e.Trace.contrast(e.ByRules))
	}
	fmt.Fprintf(w, "  %s\n", e.Packet)
	for _, note := range e.notes() {
		fmt.Fprintf(w, "  %s\n", note)
	}
	for _, change := range e.changes() {
		fmt.Fprintf(w, "  %s\n", change)
	}
	if e.Interceptors != nil {
		writeInterceptors(w, "  ", interceptor.Groups(e.Interceptors.Programs))
		writeUnread(w, "  ", e.Interceptors)
	}
	fmt.Fprintln(w)
	e.writePath(w)
	for i, r := range e.Reasons {
		before := ""
		switch {
		case i > 0:
			before = "and then "
		case e.ByRules != nil && e.ByRules.Verdict == explain.Unknown:
			before = "the rules do not say "
		case e.ByRules != nil:
			before = "the rules say so "
		}
		fmt.Fprintf(w, "\n%sbecause %s\n", before, r.Why)
		if r.Change != "" {
			fmt.Fprintf(w, "  to %s it: %s\n", e.purpose(), r.Change)
		}
	}
	if e.Trace != nil {
		e.Trace.text(w)
	}
	if e.Probe != nil {
		writeWay(w, e.Probe)
	}
	for _, other := range e.Also {
		fmt.Fprintln(w)
		other.text(w)
	}
}

// purpose says what a change is for.
func (e explanation) purpose() string {
	if e.onNode {
		return "mend"
	}
	return "capture"
}

// fate returns a verdict in words.
func fate(v explain.Verdict, port uint16) string {
	switch v {
	case explain.Redirected:
		return fmt.Sprintf("redirected to port %d", port)
	case explain.TProxied:
		return fmt.Sprintf("handed to port %d by TPROXY", port)
	case explain.Taken:
		if port == 0 {
			return "sent elsewhere by a foreign rule"
		}
		return fmt.Sprintf("sent to port %d by a foreign rule", port)
	case explain.Bypassed:
		return "bypasses the proxy"
	case explain.Unknown:
		return "cannot tell from the rules"
	case trace.Refused:
		return "not sent"
	}
	return string(v)
}

// String returns the packet as a line.
func (p askedPacket) String() string {
	var b strings.Builder
	if p.CTState != iptables.StateNew.String() {
		fmt.Fprintf(&b, "%s ", p.CTState)
	}
	fmt.Fprintf(&b, "%s %s from %s to %s", p.Family, p.Protocol, p.From, p.To)
	if p.UID != nil {
		fmt.Fprintf(&b, ", by user %d, group %d", *p.UID, *p.GID)
	}
	if p.Mark != 0 {
		fmt.Fprintf(&b, ", with mark %#x", p.Mark)
	}
	if p.CTMark != 0 {
		fmt.Fprintf(&b, ", with connection mark %#x", p.CTMark)
	}
	for _, i := range []struct{ way, name string }{{"in", p.In}, {"out", p.Out}} {
		if i.name != "" {
			fmt.Fprintf(&b, ", %s via %s", i.way, i.name)
		}
	}
	if len(p.Assumed) > 0 {
		fmt.Fprintf(&b, " (assumed: %s)", strings.Join(p.Assumed, ", "))
	}
	return b.String()
}

// changes returns what the rules changed.
func (e explanation) changes() []string {
	var all []string
	if e.Mark != e.before.Mark {
		all = append(all, fmt.Sprintf("mark %#x becomes %#x", e.before.Mark, e.Mark))
	}
	if e.CTMark != e.before.ConnMark {
		all = append(all, fmt.Sprintf("connection mark %#x becomes %#x", e.before.ConnMark, e.CTMark))
	}
	if e.Zone != 0 {
		all = append(all, fmt.Sprintf("conntrack zone %d", e.Zone))
	}
	return all
}

// maxRuleWidth keeps the options near the rules: a longer rule pushes only its own.
const maxRuleWidth = 60

// writePath prints the rules under a line for each table.
func (e explanation) writePath(w io.Writer) {
	if len(e.Path) == 0 {
		if e.Verdict == explain.Unknown || e.ByRules != nil && e.ByRules.Verdict == explain.Unknown {
			fmt.Fprintln(w, "no earlier rule matches it")
		} else {
			fmt.Fprintln(w, "no rule matches it")
		}
		return
	}
	places, rules := make([]string, len(e.Path)), make([]string, len(e.Path))
	for i, s := range e.Path {
		places[i] = fmt.Sprintf("%s %d", s.Chain, s.Position)
		if s.Position == 0 {
			places[i] = s.Chain
		}
		rules[i] = iptables.Brief(s.Rule)
	}
	placeWidth, ruleWidth := longestOf(places), min(longestOf(rules), maxRuleWidth)
	last := ""
	for i, s := range e.Path {
		if table := s.Hook + " " + s.Table; table != last {
			fmt.Fprintln(w, e.heading(s))
			last = table
		}
		line := fmt.Sprintf("  %-*s  %-*s", placeWidth, places[i], ruleWidth, rules[i])
		if s.Origin != "" {
			line += "  # " + s.Origin
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// heading names the table of a step.
func (e explanation) heading(s pathStep) string {
	comesIn := s.Hook == iptables.Prerouting || s.Hook == iptables.Input || s.Hook == installed.Ingress
	if e.before.Hook == iptables.Output && comesIn {
		return s.Table + ", as it comes in again via lo"
	}
	return s.Table
}

func longestOf(words []string) int {
	n := 0
	for _, word := range words {
		n = max(n, len(word))
	}
	return n
}
