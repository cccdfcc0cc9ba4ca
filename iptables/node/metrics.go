package node

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Run is one audit of a machine.
type Run struct {
	Reports []Report
	// Interceptors are those of the machine; nil if there is nothing to tell.
	Interceptors *Interceptors
	// Host is about the machine's own network namespace; nil if there is nothing to say.
	Host *HostReport
	// At is when it ended.
	At   time.Time
	Took time.Duration
}

// WriteMetrics writes what monitoring has to know. It is the text that the textfile collector of
// Prometheus' node exporter reads (github.com/prometheus/docs, exposition_formats.md): other
// than in OpenMetrics 1.0, a counter's type is that of its whole name.
//
// Pods are named by labels. What is not a pod's counts in meshtables_pods only: nobody could
// tell one series from another. Neither could they for two pods of one name, of which the worse
// counts.
func WriteMetrics(w io.Writer, run *Run) {
	m := metrics{w: w, pods: namedOnce(run.Reports)}
	m.family("meshtables_pods", "gauge", "Network namespaces of pods, and of others, in each state.")
	for _, s := range States() {
		n := 0
		for _, r := range run.Reports {
			if r.State == s {
				n++
			}
		}
		m.sample("meshtables_pods", strconv.Itoa(n), "state", string(s))
	}
	m.each("meshtables_pod_state", "gauge", "The state of a pod; the value is 1.", func(r *Report, add func(string, ...string)) {
		add("1", "mesh", r.Mesh, "dataplane", r.Dataplane, "state", string(r.State))
	})
	m.each("meshtables_pod_problem", "gauge", "What is wrong with a pod; the value is 1.", func(r *Report, add func(string, ...string)) {
		for _, k := range Kinds() {
			if r.Has(k) {
				add("1", "problem", string(k))
			}
		}
	})
	m.each("meshtables_pod_rules", "gauge", "Installed rules of a pod.", func(r *Report, add func(string, ...string)) {
		if r.State != NotInMesh && r.State != Unreadable && r.State != Sandboxed {
			add(strconv.Itoa(r.Rules))
		}
	})
	m.each("meshtables_pod_proxy_listening", "gauge", "Whether sockets are where the rules of a pod send traffic.", func(r *Report, add func(string, ...string)) {
		if r.Listening != nil {
			value := "0"
			if *r.Listening {
				value = "1"
			}
			add(value)
		}
	})
	m.each("meshtables_pod_packets_total", "counter", "Packets that the rules of a pod captured or let pass; in chains of nat the first of each connection.", func(r *Report, add func(string, ...string)) {
		if r.Traffic == nil {
			return
		}
		for _, d := range []struct {
			name   string
			counts Counts
		}{{"in", r.Traffic.In}, {"out", r.Traffic.Out}} {
			add(strconv.FormatUint(d.counts.Captured, 10), "direction", d.name, "result", "captured")
			add(strconv.FormatUint(d.counts.Bypassed, 10), "direction", d.name, "result", "bypassed")
		}
	})
	m.family("meshtables_interceptors", "gauge", "BPF programs of others on the way of several captured pods.")
	m.sample("meshtables_interceptors", strconv.Itoa(run.Interceptors.count()))
	m.host(run.Host)
	m.family("meshtables_audit_timestamp_seconds", "gauge", "When the audit ended, since the epoch.")
	m.sample("meshtables_audit_timestamp_seconds", strconv.FormatInt(run.At.Unix(), 10))
	m.family("meshtables_audit_duration_seconds", "gauge", "How long the audit took.")
	m.sample("meshtables_audit_duration_seconds", strconv.FormatFloat(run.Took.Seconds(), 'f', 3, 64))
}

// host writes the families about the machine's own network namespace.
func (m *metrics) host(r *HostReport) {
	m.family("meshtables_host_state", "gauge", "The state of what pods need in the node's own network namespace; the value is 1.")
	if r != nil {
		m.sample("meshtables_host_state", "1", "mesh", r.Mesh, "dataplane", r.Dataplane, "state", string(r.State))
	}
	m.family("meshtables_host_problem", "gauge", "What is wrong with that; the value is 1.")
	if r != nil {
		for _, k := range Kinds() {
			if slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Kind == k }) {
				m.sample("meshtables_host_problem", "1", "problem", string(k))
			}
		}
	}
	m.family("meshtables_host_rules", "gauge", "Installed rules in the node's own network namespace.")
	if r != nil && r.State != Unreadable {
		m.sample("meshtables_host_rules", strconv.Itoa(r.Rules))
	}
}

// metrics writes families of metrics.
type metrics struct {
	w    io.Writer
	pods []*Report
}

func (m *metrics) family(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", name, help, kind)
}

// each writes a family with samples of every pod.
func (m *metrics) each(name, kind, help string, of func(r *Report, add func(value string, labels ...string))) {
	m.family(name, kind, help)
	for _, r := range m.pods {
		of(r, func(value string, labels ...string) {
			m.sample(name, value, append([]string{"namespace", r.Namespace, "pod", r.Name}, labels...)...)
		})
	}
}

// escape writes a label's value. Those here need it only if a mesh had such a name.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// sample writes a value with labels, which are names and values in turn.
func (m *metrics) sample(name, value string, labels ...string) {
	var pairs []string
	for i := 0; i < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+escape.Replace(labels[i+1])+`"`)
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintln(m.w, name, value)
}

// namedOnce returns the reports of pods, the first of each name: that is the worst.
func namedOnce(reports []Report) []*Report {
	var all []*Report
	seen := make(map[string]bool)
	for i := range reports {
		r := &reports[i]
		if r.Name != "" && !seen[r.String()] {
			seen[r.String()] = true
			all = append(all, r)
		}
	}
	return all
}
