package main

import (
	"context"
	"fmt"
	"io"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/interceptor"
)

// readInterceptors reads which BPF programs of others traffic meets beside the rules. It is nil
// if there is nothing to tell.
func (c *command) readInterceptors(ctx context.Context) *interceptor.Found {
	return unlessEmpty(new(interceptor.Reader).Read(ctx, c.namespace))
}

func unlessEmpty(f interceptor.Found) *interceptor.Found {
	if f.IsEmpty() {
		return nil
	}
	if f.Programs == nil {
		f.Programs = []interceptor.Program{}
	}
	return &f
}

// interceptorsOf returns those that a connection meets. What is redirected on its way out goes
// out by lo, and comes in there.
func (s *subject) interceptorsOf(p iptables.Packet, r explain.Result) *interceptor.Found {
	if s.interceptors == nil {
		return nil
	}
	c := interceptor.Connection{Family: p.Family(), Protocol: p.Protocol, In: p.In}
	if p.Hook == iptables.Output {
		c.Out = p.Out
		if r.Port != 0 || p.Destination.IsLoopback() {
			c.Out = explain.Loopback
		}
		if c.Out == explain.Loopback {
			c.In = explain.Loopback
		}
	}
	return unlessEmpty(interceptor.Found{Programs: s.interceptors.On(c), Unread: s.interceptors.Unread})
}

// doubt marks what may be otherwise than the rules say.
const doubt = "? "

// writeInterceptors prints a line for each group of programs, and a hint below.
func writeInterceptors(w io.Writer, indent string, groups []interceptor.Group) {
	last := ""
	for _, g := range groups {
		fmt.Fprintf(w, "%s%s%s\n", indent, doubt, g)
		if hint := g.Hint(); hint != last {
			fmt.Fprintf(w, "%s  %s%s\n", indent, hintPrefix, hint)
			last = hint
		}
	}
}

// writeUnread prints what could not be read.
func writeUnread(w io.Writer, indent string, f *interceptor.Found) {
	for _, text := range f.Unread {
		fmt.Fprintf(w, "%s%s%s\n", indent, doubt, text)
	}
}

// stage returns the groups of a direction, those before the rules or those after.
func stage(f *interceptor.Found, d interceptor.Direction, before bool) []interceptor.Group {
	var groups []interceptor.Group
	if f == nil {
		return nil
	}
	for _, g := range interceptor.Groups(f.Diverting()) {
		if g.Direction() == d && g.BeforeRules() == before {
			groups = append(groups, g)
		}
	}
	return groups
}

// interceptorWarnings says what they may do, with a hint each.
func interceptorWarnings(f *interceptor.Found) []string {
	if f == nil {
		return nil
	}
	var warnings []string
	for _, g := range interceptor.Groups(f.Diverting()) {
		warnings = append(warnings, g.String()+"\n"+hintPrefix+g.Hint())
	}
	return warnings
}

// writeBeside prints all of them after what is installed.
func writeBeside(w io.Writer, f *interceptor.Found) {
	if f == nil || len(f.Diverting())+len(f.Unread) == 0 {
		return
	}
	fmt.Fprintln(w, "\nbeside the rules, in the order in which traffic meets them")
	for _, d := range []interceptor.Direction{interceptor.In, interceptor.Out} {
		groups := append(stage(f, d, true), stage(f, d, false)...)
		if len(groups) > 0 {
			fmt.Fprintf(w, "  %sbound\n", d)
			writeInterceptors(w, "    ", groups)
		}
	}
	writeUnread(w, "  ", f)
}
