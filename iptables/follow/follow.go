// Package follow follows a health probe on its way: from the node, which gives it an address of
// its own, through the pod's network namespace to the application, and the answer back to the
// node's connection tracking. It asks the kernel for each route, and walks the rules of both
// namespaces. It sends nothing.
package follow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Way is the way of a probe and of its answer, as far as they get.
type Way struct {
	Steps []Step `json:"steps"`
	// Lost says that one of them is lost at the last step.
	Lost bool `json:"lost"`
	// Mend is what to do about it; empty if nobody knows.
	Mend string `json:"mend,omitempty"`
}

// Step is something that happens on the way.
type Step struct {
	// Where is the namespace in which it happens.
	Where Place `json:"where"`
	// What happens, in words.
	What string `json:"what"`
}

// Place is a network namespace on the way.
type Place string

// The places.
const (
	OnNode Place = "node"
	InPod  Place = "pod"
)

func (w *Way) add(where Place, format string, args ...any) {
	w.Steps = append(w.Steps, Step{where, fmt.Sprintf(format, args...)})
}

// lose ends the way.
func (w *Way) lose(where Place, mend, format string, args ...any) {
	w.add(where, format, args...)
	w.Lost, w.Mend = true, mend
}

// Side is a namespace on the way, with the path of packets through its rules.
type Side struct {
	Namespace *namespace.Namespace
	Path      *installed.Path
}

// Pod is a pod's side, if it was found.
type Pod struct {
	Side
	// Policy is that of its rules; nil if it has none.
	Policy capture.Policy
}

// Probe is a connection from a node to a pod.
type Probe struct {
	// Packet is its first, as a socket of the node sends it, and Result what the node's rules do
	// to it.
	Packet iptables.Packet
	Result explain.Result
	// From is the source address that the prober chooses; the zero value if it leaves that to the
	// kernel.
	From netip.Addr
	// Change is what to do if the rules give it no source address.
	Change string
	Node   Side
	// Pod is the pod at the packet's destination; nil if no network namespace of the machine is
	// known to be its.
	Pod *Pod
	// PodInterfaces are the words of the command that keeps probes on the node, for pods with an
	// interface of their own.
	PodInterfaces string
}

// Follow follows a probe.
func Follow(ctx context.Context, p *Probe) (*Way, error) {
	f := follower{Probe: p, ctx: ctx}
	for _, step := range []func() error{f.leaveNode, f.enterPod, f.leavePod, f.returnToNode} {
		if err := step(); err != nil || f.way.Lost {
			return &f.way, err
		}
	}
	return &f.way, nil
}

// FollowInPod follows a probe in a pod only. The packet is as the pod gets it.
func FollowInPod(ctx context.Context, pod *Pod, p iptables.Packet) (*Way, error) {
	f := follower{Probe: &Probe{Packet: p, Pod: pod}, ctx: ctx, source: p.Source}
	for _, step := range []func() error{f.enterPod, f.leavePod} {
		if err := step(); err != nil || f.way.Lost {
			return &f.way, err
		}
	}
	return &f.way, nil
}

// follower is on the way.
type follower struct {
	*Probe
	ctx context.Context
	way Way
	// source is the address that the pod sees, and node the one that the connection has on the
	// node.
	source, node netip.Addr
	// out is by which interface of the node the probe leaves, and pair the one that leads to the
	// pod, with the pod's end; they are zero if nobody knows.
	out, pair, podEnd rtnetlink.Link
}

// lookup asks the kernel for a route of a packet that is sent or, by an interface, came in. It
// returns why there is none, in words, or an error.
func lookup(ctx context.Context, ns *namespace.Namespace, p rtnetlink.Packet, in rtnetlink.Link) (r rtnetlink.Route, why string, err error) {
	p.In = in.Index
	r, err = rtnetlink.Lookup(ctx, ns, p)
	switch {
	case err == nil && (r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_UNICAST):
		return r, "", nil
	case err == nil:
		return r, "a route refuses it", nil
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL) && isFiltered(ns, in.Name):
		return r, reversePath, nil
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES):
		return r, "there is no route", nil
	case errors.Is(err, unix.EINVAL):
		return r, "the kernel takes its addresses for impossible (martian)", nil
	}
	return r, "", fmt.Errorf("failed to ask for a route to %s: %w", p.To, err)
}

// reversePath is why a packet is dropped by the reverse path filter.
const reversePath = "the reverse path filter (rp_filter) drops it: the route to its source leads elsewhere"

// isFiltered reports whether the reverse path filter is on for what comes in by an interface: the
// greater of two settings counts (Documentation/networking/ip-sysctl.rst). Newer kernels answer
// EINVAL for all that they drop as it comes in (inet_rtm_getroute in net/ipv4/route.c).
func isFiltered(ns *namespace.Namespace, link string) bool {
	for _, name := range []string{"all", link} {
		text, err := ns.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
		if err == nil && strings.TrimSpace(string(text)) != "0" {
			return true
		}
	}
	return false
}

// looseFilter returns the command after which the filter asks only whether there is any route.
func looseFilter(link string) string { return "sysctl -w net/ipv4/conf/" + link + "/rp_filter=2" }

// by says by which interface and which table packets leave.
func by(link string, r rtnetlink.Route) string {
	text := "by " + link
	if r.Gateway.IsValid() {
		text += " via " + r.Gateway.String()
	}
	if r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_LOCAL {
		text += fmt.Sprintf(" (table %d)", r.Table)
	}
	return text
}
