package sidecar

import (
	"errors"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// What follows from more than one option, or from more than one source.

// proxyUserVariable names the user that the proxy runs as. It only sets the default
// of --proxy-uid.
const proxyUserVariable = "ENVOY_USER"

const proxyUser = "istio-proxy"

// fallbackID is the id of the proxy's user and group in Istio's images.
const fallbackID = 1337

// applyProxyUser fills in the ids that were not given. An empty one counts as not
// given, as for the reference: without an id, the proxy would capture its own traffic.
func (r *reading) applyProxyUser() {
	if r.Given("proxy-uid").IsBlank() {
		r.ProxyUIDs = []uint32{r.proxyUserID()}
	}
	if r.Given("proxy-gid").IsBlank() {
		r.ProxyGIDs = slices.Clone(r.ProxyUIDs)
	}
}

func (r *reading) proxyUserID() uint32 {
	name := proxyUser
	g, explicit := r.Variable(proxyUserVariable)
	if explicit {
		name = g.Text
	}
	id, err := r.options.sources.UserID(name)
	if err == nil {
		return id
	}
	if explicit {
		r.Fail(g.Refuse(fmt.Errorf("must be a known user: %w", err)))
	}
	return fallbackID
}

// statusPortAnnotation is the port of the agent's health checks, which the
// kubelet opens from outside the mesh.
const statusPortAnnotation = "status.sidecar.istio.io/port"

// ownPorts are the ports of the proxy and its agent that the mesh and the kubelet reach as they
// are. An annotation can move only statusPort.
const (
	ownPorts   = "15020,15021,15090"
	statusPort = 15020
)

// applyOwnPorts keeps the proxy's own ports reachable, whatever the annotations
// exclude: the application's owner writes them and does not know the proxy's ports.
// Flags and environment are the operator's, and are taken as they are.
//
// An operator's settings for many pods are instead of the default, so annotations add to
// them.
func (r *reading) applyOwnPorts() {
	exclude := r.Given("excluded-ports")
	if exclude.Authority > config.ByAnnotation {
		return
	}
	var own []iptables.PortRange
	// What the program itself says is valid.
	_ = config.Ports(&own).Set(ownPorts)
	if g, ok := r.Setting("excluded-ports"); ok {
		// If the settings decide, a wrong value has been reported.
		if err := config.Ports(&own).Set(g.Text); err != nil && exclude.Authority == config.ByAnnotation {
			r.Fail(g.Refuse(err))
		}
	}
	if g, ok := r.statusPort(); ok {
		status, err := parseStatusPort(g.Text)
		if err != nil {
			r.Fail(g.Refuse(err))
		}
		if i := slices.Index(own, iptables.Port(statusPort)); i >= 0 {
			own = slices.Replace(own, i, i+1, status...)
		} else {
			own = append(own, status...)
		}
	}
	if exclude.Authority == config.ByAnnotation {
		own = append(own, r.ExcludedPorts...)
	}
	r.ExcludedPorts = config.Distinct(own)
}

// statusPort returns what the pod says about that port: by an annotation of its own, or else
// among the settings of its proxy.
func (r *reading) statusPort() (config.Given, bool) {
	if g, ok := r.Annotation(statusPortAnnotation); ok {
		return g, true
	}
	pod := &r.options.pod
	return pod.given("statusPort", pod.StatusPort), pod.StatusPort != ""
}

// parseStatusPort returns one port, or none for "0", which means that there are no
// health checks to redirect.
func parseStatusPort(text string) ([]iptables.PortRange, error) {
	if text == "0" {
		return nil, nil
	}
	var p uint16
	if config.Port(&p).Set(text) != nil {
		return nil, errors.New("must be one port, from 1 to 65535, or 0 for none")
	}
	return []iptables.PortRange{iptables.Port(p)}, nil
}

// applyNameServers captures queries to any server where nobody can tell yet which servers
// the pod will have, as Istio's plugin does (cni/pkg/plugin/sidecar_redirect.go).
func (r *reading) applyNameServers() {
	if !r.options.sources.NoNameServers || !r.RedirectDNS {
		return
	}
	if g := r.Given("capture-all-dns"); g.IsExplicit() && !r.CaptureAllDNS {
		r.Fail(g.Refuse(errors.New("must be true where the rules are written before the pod has its resolv.conf")))
	}
	r.CaptureAllDNS = true
}

func (r *reading) checkMark() {
	if g := r.Given("tproxy-mark"); g.IsExplicit() && r.Mode == ModeTProxy && r.TProxyMark == outboundMark {
		r.Fail(g.Refuse(fmt.Errorf("must not be %d in mode %s: the proxy's own traffic has that mark", outboundMark, ModeTProxy)))
	}
}
