package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// What follows from more than one option, or from more than one source.

// proxyUserVariable names the user that the proxy runs as. It only serves to
// find the default of --proxy-uid.
const proxyUserVariable = "ENVOY_USER"

const proxyUser = "istio-proxy"

// fallbackID is the id of the proxy's user and group in Istio's images.
const fallbackID = 1337

// applyProxyUser fills in the ids that were not given. An empty one counts as not
// given, as it does for the reference: without any, the proxy would capture its
// own traffic.
func (r *reading) applyProxyUser() {
	if isBlank(r.given["proxy-uid"].text) {
		r.ProxyUIDs = []uint32{r.proxyUserID()}
	}
	if isBlank(r.given["proxy-gid"].text) {
		r.ProxyGIDs = slices.Clone(r.ProxyUIDs)
	}
}

func (r *reading) proxyUserID() uint32 {
	name, explicit := r.env[proxyUserVariable]
	if !explicit {
		name = proxyUser
	}
	id, err := r.userID(name)
	if err == nil {
		return id
	}
	if explicit {
		g := given{byEnvironment, "environment variable " + proxyUserVariable, name}
		r.errs = append(r.errs, g.error(fmt.Errorf("must be a known user: %w", err)))
	}
	return fallbackID
}

// statusPort is the one of the proxy's own ports that an annotation can move.
const statusPort = 15020

// applyOwnPorts keeps the proxy's own ports reachable whatever the annotations
// exclude: those are the application's words, and it knows nothing of the proxy's
// ports. Flags and environment are the operator's and taken as they are.
func (r *reading) applyOwnPorts() {
	exclude := r.given["excluded-ports"]
	if exclude.authority > byAnnotation {
		return
	}
	own := Default().ExcludedPorts
	if g, ok := r.notes.get(statusPortAnnotation); ok {
		status, err := parseStatusPort(g.text)
		if err != nil {
			r.errs = append(r.errs, g.error(err))
		}
		i := slices.Index(own, iptables.Port(statusPort))
		own = slices.Replace(own, i, i+1, status...)
	}
	if exclude.authority == byAnnotation {
		own = append(own, r.ExcludedPorts...)
	}
	r.ExcludedPorts = Distinct(own)
}

// parseStatusPort returns one port, or none for "0", which tells the injector
// that there are no health checks to redirect.
func parseStatusPort(text string) ([]iptables.PortRange, error) {
	if text == "0" {
		return nil, nil
	}
	var p uint16
	if Port(&p).Set(text) != nil {
		return nil, errors.New("must be one port, from 1 to 65535, or 0 for none")
	}
	return []iptables.PortRange{iptables.Port(p)}, nil
}

// applyDualStack lets --dual-stack turn IPv6 on. Without it nothing is said:
// auto is not off.
func (r *reading) applyDualStack() {
	dual, ipv6 := r.given["dual-stack"], r.given["ipv6"]
	if !r.dualStack || dual.authority < ipv6.authority {
		return
	}
	if dual.authority == ipv6.authority && r.IPv6 == IPv6Off {
		r.errs = append(r.errs, fmt.Errorf("%v and %v: must not contradict each other", ipv6, dual))
		return
	}
	r.IPv6 = IPv6On
}

// proxyMark marks what the proxy itself sends in TPROXY mode.
const proxyMark = 1338

func (r *reading) checkMark() {
	if g, ok := r.given["tproxy-mark"]; ok && r.Mode == ModeTProxy && r.TProxyMark == proxyMark {
		r.errs = append(r.errs, g.error(fmt.Errorf("must not be %d in mode %s: the proxy's own traffic has that mark", proxyMark, ModeTProxy)))
	}
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }
