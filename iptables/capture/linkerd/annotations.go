package linkerd

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// The annotations of a pod that Linkerd's injector reads, but for the first, which it writes
// (pkg/k8s/labels.go of Linkerd).
const (
	versionAnnotation = "linkerd.io/proxy-version"

	prefix            = "config.linkerd.io/"
	skipInbound       = prefix + "skip-inbound-ports"
	skipOutbound      = prefix + "skip-outbound-ports"
	controlPort       = prefix + "control-port"
	adminPort         = prefix + "admin-port"
	closeWaitDuration = prefix + "close-wait-timeout"
)

// The values of the injector's chart (charts/linkerd-control-plane/values.yaml of Linkerd):
// the proxy's own ports, and those of the multicluster gateway, which are ignored unless an
// annotation names others.
const (
	chartControlPort = "4190"
	chartAdminPort   = "4191"
	chartIgnored     = "4567,4568"
)

const closeWaitName = "timeout-close-wait-secs"

// Decide implements [capture.Policy]: a pod's traffic is captured if Linkerd's injector has
// given it a proxy. Annotations do not say whether it has an init container that writes rules;
// that one finds them as it wants them.
func (Policy) Decide(notes map[string]string) (capture.Decision, error) {
	if _, ok := notes[versionAnnotation]; !ok {
		return capture.Decision{Why: "no annotation " + versionAnnotation + ": Linkerd's injector has given the pod no proxy"}, nil
	}
	return capture.Decision{Captured: true, Why: "Linkerd's injector has given the pod a proxy"}, nil
}

// applyProxyUser refuses a proxy without a user: it would capture its own traffic.
func (r *reading) applyProxyUser() {
	if g := r.Given("proxy-uid"); r.Err() == nil && len(r.ProxyUIDs) == 0 {
		r.Fail(g.Refuse(errors.New("must be a user: without one the proxy's own traffic would be captured")))
	}
}

// applyInjectedPorts excludes the ports that the injector would name, if the pod has annotations
// of Linkerd's. Flags, environment and file are taken as they are: the injector has computed its
// flags.
//
// An annotation, or else an operator's setting for many pods, replaces what the chart ignores,
// but not the proxy's own ports.
func (r *reading) applyInjectedPorts(notes map[string]string) {
	if !slices.ContainsFunc(slices.Collect(maps.Keys(notes)), isLinkerds) {
		return
	}
	var ignored []iptables.PortRange
	// What the program itself says is valid.
	_ = config.Ports(&ignored).Set(chartIgnored)
	if r.Given("excluded-outbound-ports") == (config.Given{}) {
		r.ExcludedOutboundPorts = ignored
	}
	switch inbound := r.Given("excluded-ports"); {
	case inbound.Authority > config.ByAnnotation:
		return
	case inbound.Authority == config.ByDefault:
		r.ExcludedPorts = ignored
	}
	own := []iptables.PortRange{r.ownPort(controlPort, chartControlPort), r.ownPort(adminPort, chartAdminPort)}
	r.ExcludedPorts = config.Distinct(append(own, r.ExcludedPorts...))
}

// isLinkerds reports whether a key of an annotation is one that the injector reads or writes.
func isLinkerds(key string) bool { return key == versionAnnotation || strings.HasPrefix(key, prefix) }

// ownPort returns a port of the proxy, which an annotation may move.
func (r *reading) ownPort(annotation, chart string) iptables.PortRange {
	var port uint16
	g, moved := r.Annotation(annotation)
	if !moved {
		g.Text = chart
	}
	if err := config.Port(&port).Set(g.Text); err != nil {
		r.Fail(g.Refuse(err))
	}
	return iptables.Port(port)
}

// closeWaitOf returns what the annotation about the timeout says, which is a duration.
func closeWaitOf(notes map[string]string) (map[string]config.Given, error) {
	text, ok := notes[closeWaitDuration]
	if !ok {
		return nil, nil
	}
	g := config.Given{Authority: config.ByAnnotation, Source: "annotation " + closeWaitDuration, Text: text}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d.Seconds() > math.MaxInt32 {
		return nil, g.Refuse(errors.New("must be a duration such as 3600s or 1h"))
	}
	// The injector gives whole seconds, rounded down.
	g.Text = strconv.FormatInt(int64(d/time.Second), 10)
	return map[string]config.Given{closeWaitName: g}, nil
}

// seconds is a timeout as the kernel takes it, or 0.
func seconds(target *uint32) pflag.Value { return (*secondsValue)(target) }

type secondsValue uint32

func (v *secondsValue) Set(text string) error {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	// The kernel keeps it in jiffies, an int times up to 1000
	// (nf_conntrack_standalone.c).
	if err != nil || n > math.MaxInt32/1000 {
		return fmt.Errorf("must be a number of seconds, from 0 to %d", math.MaxInt32/1000)
	}
	*v = secondsValue(n)
	return nil
}

func (v *secondsValue) String() string { return strconv.FormatUint(uint64(*v), 10) }
func (v *secondsValue) Type() string   { return "seconds" }
