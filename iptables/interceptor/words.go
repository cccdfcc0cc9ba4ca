package interceptor

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// Group are programs that may do the same and are the same software's, at one stage of the way.
type Group struct {
	Programs []Program
}

// Groups puts programs together. The groups are in the order of their first programs.
func Groups(programs []Program) []Group {
	var groups []Group
	type kind struct {
		software string
		out      bool
		effect   Effect
		before   bool
	}
	at := make(map[kind]int)
	for _, p := range programs {
		k := kind{p.Software, p.Direction == Out, p.Effect, p.BeforeRules}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, Group{})
		}
		groups[i].Programs = append(groups[i].Programs, p)
	}
	return groups
}

// Direction returns that of all of them.
func (g Group) Direction() Direction { return g.Programs[0].Direction }

// BeforeRules reports whether they come before the rules of netfilter.
func (g Group) BeforeRules() bool { return g.Programs[0].BeforeRules }

// String returns a sentence such as "Cilium may rewrite the destination before the rules see it:
// BPF program 42 cil_sock4_conne (connect4 on cgroup /)".
func (g Group) String() string {
	first := &g.Programs[0]
	who := first.Software
	if who == "" {
		who = "another program"
	}
	what, names := "BPF program ", make([]string, 0, iptables.MaxListed)
	if len(g.Programs) > 1 {
		what = "BPF programs "
	}
	for _, p := range g.Programs[:min(len(g.Programs), iptables.MaxListed)] {
		names = append(names, p.String())
	}
	text := fmt.Sprintf("%s may %s: %s%s", who, first.may(), what, strings.Join(names, ", "))
	if more := len(g.Programs) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Hint says what to do about them.
func (g Group) Hint() string { return g.Programs[0].Hint }

// String returns the program and its place, such as "42 steer (tc ingress on eth0)".
func (p *Program) String() string {
	text := fmt.Sprint(p.ID)
	if p.Name != "" {
		text += " " + p.Name
	}
	return fmt.Sprintf("%s (%s)", text, p.where())
}

func (p *Program) where() string {
	switch {
	case p.Above:
		return p.Hook + " on a cgroup above " + p.Cgroup
	case p.Cgroup != "":
		return p.Hook + " on cgroup " + p.Cgroup
	case p.Interface != "":
		return p.Hook + " on " + p.Interface
	}
	return p.Hook
}

// may says what the program can do.
func (p *Program) may() string {
	switch p.Effect {
	case Rewrites:
		return "rewrite the destination before the rules see it"
	case Redirects:
		if p.BeforeRules {
			return "redirect, change or drop packets before the rules see them"
		}
		return "redirect, change or drop packets after the rules"
	case Steers:
		return "give connections to another socket than the rules lead to"
	case Drops:
		return "drop packets after the rules"
	}
	return "tell applications another peer than they are connected to"
}

// describe says whose the program is, and what to do about it.
func (p *Program) describe() {
	p.Hint = fmt.Sprintf("to see whose it is: bpftool prog show id %d", p.ID)
	for _, s := range known() {
		if strings.HasPrefix(p.Name, s.prefix) {
			p.Software = s.name
			if s.mend != "" && s.effect == p.Effect {
				p.Hint = s.mend
			}
			break
		}
	}
	p.Text = Group{[]Program{*p}}.String()
}

// software is known by how the names of its programs begin.
type software struct {
	prefix, name string
	// mend is what to do about those with an effect.
	effect Effect
	mend   string
}

// known returns the software whose programs are in the way of meshes, or often seen. Names of
// programs are from its sources: bpf/bpf_sock.c of Cilium, felix/bpf-gpl/connect_balancer.c of
// Calico, bpf/mb_connect.c and bpf/mb_tc.c of Merbridge, src/core/bpf-firewall.c of systemd.
func known() []software {
	const (
		cilium = "with socketLB.hostNamespaceOnly=true, Cilium leaves the connections of pods alone; its programs stay attached then too"
		calico = "set bpfConnectTimeLoadBalancing to Disabled in Calico's FelixConfiguration"
		merge  = "Merbridge captures in place of rules: take it off the node, or leave the capture to it"
	)
	return []software{
		{"cil_", "Cilium", Rewrites, cilium},
		{"calico_", "Calico", Rewrites, calico},
		{"cali_", "Calico", Rewrites, calico},
		{"mb_sock", "Merbridge", Rewrites, merge},
		{"mb_tc_", "Merbridge", Redirects, merge},
		{"sd_fw_", "systemd", Drops, "see IPAddressAllow= and IPAddressDeny= of the unit (systemd.resource-control(5))"},
	}
}
