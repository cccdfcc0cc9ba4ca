package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/namespace"
)

const namespaceOption = "network-namespace"

// openNamespace returns where the work is done: the own network namespace, or the one that
// --network-namespace names.
func (c *command) openNamespace() (*namespace.Namespace, error) {
	if c.networkNamespace == "" {
		return namespace.Own(), nil
	}
	ns, err := namespace.Open(c.networkNamespace)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.line.flags.Given(namespaceOption), err)
	}
	return ns, nil
}

// resolvConf returns the file that the namespace's name servers are in: that of a process
// there. Of a network namespace alone, a process has to be looked for, if the name
// servers matter; without one it is the file of this machine, which is not known to be
// the right one.
func (c *command) resolvConf(matters bool) (path string, known bool) {
	switch {
	case c.namespace.PID() != 0:
		return fmt.Sprintf("/proc/%d/root%s", c.namespace.PID(), host.ResolvConf), true
	case c.namespace.IsOwn() || !matters:
		return host.ResolvConf, true
	}
	if path, ok := host.FindResolvConf(c.namespace); ok {
		return path, true
	}
	return host.ResolvConf, false
}

// checkIDs refuses users and groups that nobody can be in the network namespace,
// because the user namespace that owns it does not map them: rules about them
// would never match.
func (c *command) checkIDs(cfg config.Config) error {
	maps, err := host.MappedIDs(c.namespace)
	if err != nil {
		return err
	}
	var errs []error
	for _, check := range []struct {
		option, file string
		ids          []uint32
		mapped       host.IDMap
	}{
		{"proxy-uid", "uid_map", cfg.ProxyUIDs, maps.Users},
		{"proxy-gid", "gid_map", cfg.ProxyGIDs, maps.Groups},
		{"included-groups", "gid_map", cfg.IncludedGroups.Groups, maps.Groups},
		{"excluded-groups", "gid_map", cfg.ExcludedGroups, maps.Groups},
		{"excluded-uids", "uid_map", bounds(cfg.ExcludedUIDs), maps.Users},
	} {
		for _, id := range check.ids {
			if check.mapped != nil && !check.mapped.Has(id) {
				errs = append(errs, fmt.Errorf("%s: %d does not exist in the user namespace that owns the network namespace\n"+
					hintPrefix+"%s/%s has the ids that do", cmp.Or(c.line.flags.Given(check.option), "--"+check.option), id, maps.From, check.file))
			}
		}
	}
	return errors.Join(errs...)
}

// bounds returns the first and the last of each range of users.
func bounds(users []config.UserTraffic) []uint32 {
	var ids []uint32
	for _, u := range users {
		ids = append(ids, u.First, u.Last)
	}
	return ids
}
