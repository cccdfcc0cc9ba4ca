package cni

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/tests/recorded"
)

// injectedByLinkerd are annotations that Linkerd's injector writes, and more.
func injectedByLinkerd(more ...string) map[string]string {
	notes := map[string]string{"linkerd.io/proxy-version": "edge-26.7.1"}
	for i := 0; i < len(more); i += 2 {
		notes["config.linkerd.io/"+more[i]] = more[i+1]
	}
	return notes
}

// ADD gives a pod of Linkerd's what its injector's arguments give, and says so. CHECK agrees.
func TestLinkerd(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	p.annotations = injectedByLinkerd()
	for _, want := range []string{"result=applied", "result=unchanged"} {
		if err := p.add(t); err != nil || p.stdout.String() != result {
			t.Fatalf("got %v, %s", err, &p.stdout)
		}
		p.wantLog(t, `msg="captured: Linkerd's injector has given the pod a proxy"`, "mesh=linkerd", want, "rules=8", "families=IPv4")
	}
	c := recorded.LinkerdCases(t)[0]
	rules := c.Ruleset(t)
	recorded, written := linkerd.Ownership().Of(rules), linkerd.Ownership().Of(p.saved(t))
	if diff := cmp.Diff(recorded.Save(iptables.IPv4), written.Save(iptables.IPv4)); c.Name != "chart-default" || diff != "" {
		t.Errorf("recorded %s (-), by the plugin (+):\n%s", c.Name, diff)
	}
	if err := p.functions().Check(p.arguments(t)); err != nil {
		t.Error(err)
	}
}

// Annotations and the options of the mesh decide, and those of another mesh do not.
func TestLinkerdOptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys        string
		annotations map[string]string
		want        string
	}{
		"annotations": {"", injectedByLinkerd("skip-inbound-ports", "25", "skip-outbound-ports", "", "proxy-uid", "7"),
			"options=\"--proxy-uid=7 --excluded-ports=4190,4191,25 --excluded-outbound-ports=\""},
		"options": {`"options": {"mesh": "linkerd", "excluded-ports": "80", "ipv6": false}`, injectedByLinkerd(),
			"options=\"--excluded-ports=4190,4191,80 --excluded-outbound-ports=4567,4568 --ipv6=off\""},
		"options for Istio's": {`"options": {"mode": "TPROXY", "backend": "nftables"}`, injectedByLinkerd(),
			"backend=nftables options=\"--excluded-ports=4190,4191,4567,4568 --excluded-outbound-ports=4567,4568\""},
		"Istio's pod, options for Linkerd's": {`"options": {"mesh": "linkerd", "excluded-ports": "80"}`, marked(), "mesh=istio"},
		"without annotations":                {`"options": {"mesh": "linkerd"}, "withoutAnnotations": "capture"`, nil, "mesh=linkerd"},
		"without anything":                   {`"withoutAnnotations": "capture"`, nil, "mesh=istio"},
		"not in the mesh":                    {`"options": {"mesh": "linkerd"}`, map[string]string{}, "not captured: no annotation linkerd.io/proxy-version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newTestPod(t, "10.244.1.7/24")
			p.keys, p.annotations = test.keys, test.annotations
			if err := p.add(t); err != nil {
				t.Fatal(err)
			}
			p.wantLog(t, test.want)
		})
	}
}

func TestMeshErrors(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		`"options": {"mesh": "kuma"}`:                      `options.mesh "kuma": must be istio or linkerd`,
		`"options": {"mesh": 7}`:                           `options.mesh "7": must be istio or linkerd`,
		`"options": {"mesh": "linkerd", "mode": "TPROXY"}`: `options.mode "TPROXY": has no meaning for Linkerd`,
		`"options": {"timeout-close-wait-secs": 7}`:        `options.timeout-close-wait-secs "7": there is no such option`,
	} {
		_, err := parse(testPolicies, entry(keys))
		if err == nil || !strings.Contains(err.Error(), want) || errorObject(err).Code != codeConfiguration {
			t.Errorf("%s:\n got %v\nwant %s", keys, err, want)
		}
	}
}

// The timeout of conntrack is set, and CHECK sees that it is not any more.
func TestLinkerdTimeout(t *testing.T) {
	t.Parallel()
	const setting = "net.netfilter.nf_conntrack_tcp_timeout_close_wait"
	p := newTestPod(t, "10.244.1.7/24")
	p.annotations = injectedByLinkerd("close-wait-timeout", "77s")
	if err := p.add(t); err != nil {
		t.Fatal(err)
	}
	if got := p.run(t, "sysctl", "-n", setting); got != "77\n" {
		t.Errorf("the timeout is %s", got)
	}
	p.run(t, "sysctl", "-w", setting+"=60")
	if object := objectOf(t, p.functions().Check(p.arguments(t))); object.Code != codeDifferent || object.Details != "needs: sysctl -w "+setting+"=77" {
		t.Errorf("got %+v", object)
	}
}
