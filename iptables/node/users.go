package node

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// crowd is who is in a pod's network namespace, by what rules know senders by.
type crowd struct {
	exemption *exemption
	ids       host.IDMaps
	// sockets are those at which the proxy listens.
	sockets []host.Socket
	// holders are the processes that have such a socket, by its inode, and others are the rest.
	holders map[uint64][]Process
	others  []Process
}

// compareUsers compares the users that a plan's rules exempt with those that the proxy runs as, and
// lists who else is exempt. It is for policies that know the proxy by its user.
func (x *examination) compareUsers(l host.Listeners, rules *iptables.Ruleset, ports []port) error {
	option, exempt := capture.ProxyUsers(x.plan.Wanted.IDs())
	e := exemptionOf(rules)
	if e == nil || option == "" {
		return nil
	}
	c := crowd{exemption: e}
	for _, p := range ports {
		if p.protocol == iptables.TCP {
			c.sockets = append(c.sockets, l.At(p.protocol, p.number)...)
		}
	}
	if err := c.look(x); err != nil {
		return err
	}
	if users := c.capturedProxies(); len(users) > 0 {
		r := x.report
		if r.State == AsWanted {
			r.State = Different
		}
		text := fmt.Sprintf("the proxy runs as %s, the rules exempt %s: its traffic loops", capture.JoinIDs(users), capture.JoinIDs(exempt))
		r.add(ProxyUser, text, x.exemptHint(option, users))
	}
	x.report.Exempt = c.past()
	return nil
}

// exemptHint says how the rules get to exempt users.
func (x *examination) exemptHint(option string, users []uint32) string {
	if x.isByPlugin() {
		return fmt.Sprintf("to exempt it: set \"proxyUsers\": {%q: [%s]} in the plugin's entry, or %q among its \"options\", and repair", x.pod.Namespace, capture.JoinIDs(users), option)
	}
	return fmt.Sprintf("to exempt it: give --%s=%s where the rules are applied", option, capture.JoinIDs(users))
}

// look finds out who is there.
func (c *crowd) look(x *examination) (err error) {
	n, pids := &x.auditor.Node, slices.Sorted(slices.Values(x.pod.processes))
	if c.ids, err = host.MappedIDs(x.ns, x.processFolders()...); err != nil {
		return err
	}
	var inodes []uint64
	suspect := false
	for _, s := range c.sockets {
		inodes = append(inodes, s.Inode)
		uid, known := c.ids.User(s.UID)
		always, _ := c.exemption.hasUser(uid)
		suspect = suspect || known && !always
	}
	c.holders = make(map[uint64][]Process)
	for _, pid := range pids {
		p, err := n.process(pid, x.pod.identity, &c.ids)
		if err == nil && !suspect && !c.exemption.has(p.User, p.Group) {
			// It matters to nobody which files it has, and it can have many.
			continue
		}
		var held []uint64
		if err == nil {
			held, err = n.holds(pid, inodes)
		}
		switch {
		case isGone(err), errors.Is(err, errUnknownIDs), errors.Is(err, fs.ErrPermission):
			// Nobody can tell what it has.
			continue
		case err != nil:
			return fmt.Errorf("failed to look at process %d: %w", pid, err)
		}
		for _, inode := range held {
			c.holders[inode] = append(c.holders[inode], p)
		}
		if len(held) == 0 {
			c.others = append(c.others, p)
		}
	}
	return nil
}

// processFolders returns the folders of the pod's processes in procfs.
func (x *examination) processFolders() []string {
	var folders []string
	for _, pid := range slices.Sorted(slices.Values(x.pod.processes)) {
		folders = append(folders, x.auditor.Node.processFolder(pid))
	}
	return folders
}

// isGone reports whether an error is about a process that has ended.
func isGone(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// capturedProxies returns as which users the proxy runs without being exempt. If that is not
// certain, there are none.
func (c *crowd) capturedProxies() []uint32 {
	var users []uint32
	add := func(uid uint32) {
		if !slices.Contains(users, uid) {
			users = append(users, uid)
		}
	}
	for _, s := range c.sockets {
		uid, known := c.ids.User(s.UID)
		always, ever := c.exemption.hasUser(uid)
		holders := c.holders[s.Inode]
		switch {
		case !known, always:
		case len(holders) > 0:
			// One that has opened it may have handed it to another, which serves.
			if !slices.ContainsFunc(holders, c.isExempt) {
				add(holders[0].User)
			}
		case uid == 0:
			// Who opens sockets as root may have become somebody else since.
		case !ever:
			add(uid)
		}
	}
	return users
}

func (c *crowd) isExempt(p Process) bool { return c.exemption.has(p.User, p.Group) }

// past returns the processes besides the proxy whose traffic is left alone; nil if there are none.
func (c *crowd) past() *Exempt {
	var e Exempt
	for _, p := range c.others {
		if c.isExempt(p) {
			e.add(p)
		}
	}
	if len(e.Processes) == 0 {
		return nil
	}
	return &e
}
