package sidecar

import (
	"math"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Values that are valid, but exempt more or include less than anybody is likely to mean.

// warnExtent warns of values that exempt everything, or somebody that is not the proxy.
func (r *reading) warnExtent() {
	s := r.selection()
	r.warnRoot()
	if s.SendsCaptured() {
		r.warnEverybody()
		s.WarnEveryDestination(r.Reading)
	}
	s.WarnEveryPort(r.Reading)
	s.WarnEveryClient(r.Reading)
	s.WarnBesideEverything(r.Reading)
	capture.WarnNoLength(r.Reading, "included-cidrs", "excluded-cidrs", "excluded-source-cidrs", "loopback-cidr")
}

// warnRoot is about the proxy running as root: then whatever else does is not captured.
// Many images run as root, and in OpenShift every process has the group root.
func (r *reading) warnRoot() {
	user := r.Given("proxy-uid")
	if user.IsBlank() {
		user, _ = r.Variable(proxyUserVariable)
	}
	for _, ids := range []struct {
		given config.Given
		who   string
		ids   []uint32
	}{{user, "user", r.ProxyUIDs}, {r.Given("proxy-gid"), "group", r.ProxyGIDs}} {
		if !ids.given.IsBlank() && slices.Contains(ids.ids, 0) {
			r.Warn("%v names the %s root: all that root sends goes past the proxy\n"+
				"hint: run the proxy as a user or group of its own, such as %d", ids.given, ids.who, fallbackID)
		}
	}
}

func (r *reading) warnEverybody() {
	var users []iptables.Interval
	for _, t := range r.ExcludedUIDs {
		if t.Protocol != iptables.UDP && (t.Ports == iptables.PortRange{} || t.Ports == capture.EveryPort()) {
			users = append(users, userInterval(t))
		}
	}
	if capture.Covers(iptables.NewSet(iptables.OwnerUID, false, users), iptables.IDInterval(0, math.MaxUint32-1)) {
		r.Warn("%v has every user: no outbound connection is captured", r.Given("excluded-uids"))
	}
}
