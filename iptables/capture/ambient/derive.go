package ambient

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables/config"
)

// What follows from more than one option, or from more than one source.

// Annotations of the pod.
const (
	// bypassAnnotation says that the pod takes inbound connections itself, as a gateway
	// does.
	bypassAnnotation = "ambient.istio.io/bypass-inbound-capture"
	// dnsCaptureAnnotation is the pod's own word about DNS.
	dnsCaptureAnnotation = "ambient.istio.io/dns-capture"
)

// applyBypass lets the annotation exempt all inbound ports, unless the operator says which
// are captured.
func (r *reading) applyBypass() {
	g, ok := r.Annotation(bypassAnnotation)
	if !ok || r.Given("included-ports").IsExplicit() {
		return
	}
	var bypass bool
	if err := config.Bool(&bypass).Set(g.Text); err != nil {
		r.Fail(g.Refuse(err))
	} else if bypass {
		r.IncludedPorts = config.PortSelection{}
	}
}

// applyDNSCapture lets the annotation override what is given elsewhere, as in the reference:
// that is the node's default, and the pod's owner knows better.
func (r *reading) applyDNSCapture() {
	g, ok := r.Annotation(dnsCaptureAnnotation)
	if !ok || r.Given("redirect-dns").Authority <= config.ByAnnotation {
		return
	}
	if err := config.Bool(&r.RedirectDNS).Set(g.Text); err != nil {
		r.Fail(g.Refuse(err))
	}
}

// checkMarks refuses marks that one packet can have both of: the answers of the application
// would count as the proxy's own traffic.
func (r *reading) checkMarks() {
	if r.Err() != nil || r.ProxyMark.Excludes(r.ConnectionMark) {
		return
	}
	for _, option := range []string{"connection-mark", "proxy-mark"} {
		if g := r.Given(option); g.IsExplicit() {
			other := map[string]config.MaskedMark{"connection-mark": r.ProxyMark, "proxy-mark": r.ConnectionMark}[option]
			r.Fail(g.Refuse(fmt.Errorf("must differ from %v in a bit that both masks have: a packet could have both marks", other)))
			return
		}
	}
}
