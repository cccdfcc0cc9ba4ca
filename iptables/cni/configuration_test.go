package cni

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// entry returns an entry of a conflist with these keys, as JSON, as the plugin gets it.
func entry(keys string) []byte {
	if keys != "" {
		keys = ", " + keys
	}
	return fmt.Appendf(nil, `{"cniVersion": "1.1.0", "name": "pods", "type": "meshtables", "capabilities": {%q: true}%s}`, AnnotationsCapability, keys)
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	c, err := parse(testPolicies, entry(`"options": {"proxy-uid": [7, 8], "backend": "nftables", "mode": "TPROXY"}, `+
		`"excludeNamespaces": ["kube-system"], "withoutAnnotations": "skip", "logFile": "/var/log/m", "logLevel": "debug", `+
		`"prevResult": {"a": 1}, "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": "b"}}, "cni.dev/valid-attachments": []`))
	if err != nil {
		t.Fatal(err)
	}
	if c.backend != "nftables" || c.without != withoutSkip || c.logFile != "/var/log/m" || c.logLevel != slog.LevelDebug ||
		fmt.Sprint(c.excludeNamespaces) != "[kube-system]" || string(c.previous) != `{"a": 1}` || c.annotations["a"] != "b" || !c.declared || c.version != "1.1.0" {
		t.Errorf("got %+v", c)
	}
	wanted, warnings, err := c.read(c.policy(), "", map[string]string{"sidecar.istio.io/interceptionMode": "REDIRECT", "traffic.sidecar.istio.io/excludeInboundPorts": "9090"})
	if got, want := fmt.Sprint(wanted.Arguments()), "[--proxy-uid=7,8 --excluded-ports=15020,15021,15090,9090]"; err != nil || got != want || len(warnings) > 0 {
		t.Errorf("got %s, %v, %q, want %s", got, err, warnings, want)
	}
}

// Whether there are annotations is another question than whether there are any to hand over.
func TestNoAnnotations(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]bool{
		``:                                      false,
		`"runtimeConfig": {}`:                   false,
		`"runtimeConfig": {"portMappings": []}`: false,
		`"runtimeConfig": {"io.kubernetes.cri.pod-annotations": null}`: true,
		`"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {}}`:   true,
	} {
		if c, err := parse(testPolicies, entry(keys)); err != nil || (c.annotations != nil) != want {
			t.Errorf("%s: got %v, %v", keys, c.annotations, err)
		}
	}
}

func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		`"optoins": {}`:                     "optoins: there is no such key; did you mean options?",
		`"banana": {}`:                      "banana: there is no such key; there are excludeNamespaces, logFile, logLevel, options, proxyUsers, sandboxed, withoutAnnotations",
		`"options": []`:                     `options: must be an object of options with their values, such as {"mode": "TPROXY"}`,
		`"options": {"mode": "BOTH"}`:       `options.mode "BOTH": must be REDIRECT or TPROXY`,
		`"options": {"proxy-uid": "envoy"}`: `"envoy" is not a known user: users and groups must be numbers, because names belong to the pod`,
		`"options": {"backend": "none"}`:    `options.backend "none": must be auto, iptables-nft, nftables, iptables-legacy or iptables`,
		`"options": {"dry-run": true}`:      `options.dry-run "true": there is no such option`,
		`"options": {"redirect-dns": true, "capture-all-dns": false}`: `options.capture-all-dns "false": must be true where the rules are written before the pod has its resolv.conf`,
		`"excludeNamespaces": "kube-system"`:                          `excludeNamespaces "kube-system": must be a list of namespaces such as ["kube-system"]`,
		`"proxyUsers": []`:                                            `proxyUsers []: must be an object of patterns of namespaces with their users, such as {"shop": 1000650000}`,
		`"proxyUsers": {"[": 7, "": 8}`:                               "proxyUsers.: must be a pattern of namespaces such as openshift-*\nproxyUsers.[: must be",
		`"proxyUsers": {"a": "envoy"}`:                                `proxyUsers.a "envoy": must be a user or a list of users, as numbers such as 1000650000`,
		`"proxyUsers": {"a": [], "b": null}`:                          "proxyUsers.a []: must be a user or a list of users, as numbers such as 1000650000\nproxyUsers.b null: must be",
		`"proxyUsers": {"a": [1, 4294967295]}`:                        `proxyUsers.a [1, 4294967295]: must be a user`,
		`"proxyUsers": {"a": -1, "b": [1, "c"]}`:                      "proxyUsers.a -1: must be a user or a list of users, as numbers such as 1000650000\nproxyUsers.b [1, \"c\"]: must be",
		`"proxyUser": {}`:                                             "proxyUser: there is no such key; did you mean proxyUsers?",
		`"excludeNamespaces": [""]`:                                   `excludeNamespaces [""]: must be a list of namespaces`,
		`"withoutAnnotations": "ignore"`:                              `withoutAnnotations "ignore": must be fail, skip or capture`,
		`"sandboxed": "ignore"`:                                       `sandboxed "ignore": must be fail, skip or capture`,
		`"logFile": "m.log"`:                                          `logFile "m.log": must be the absolute path of a file`,
		`"logLevel": 7`:                                               `logLevel "7": must be debug, info, warn or error`,
		`"dropIn": 7`:                                                 `dropIn 7: must be a text`,
		`"runtimeConfig": {"io.kubernetes.cri.pod-annotations": []}`:  `must be an object in which io.kubernetes.cri.pod-annotations is an object of texts`,
		`"capabilities": 1`:                                           `capabilities 1: must be an object of capabilities`,
		`"logLevel": "loud", "options": {"outbound-port": 0, "mode": "x"}`: "logLevel \"loud\": must be debug, info, warn or error\n" +
			"options.outbound-port \"0\": must be one port, from 1 to 65535\noptions.mode \"x\": must be REDIRECT or TPROXY",
	} {
		_, err := parse(testPolicies, entry(keys))
		if err == nil || !strings.Contains(err.Error(), want) || errorObject(err).Code != codeConfiguration {
			t.Errorf("%s:\n got %v\nwant %s", keys, err, want)
		}
	}
}

// A message has what is wrong, and the details what to do about it.
func TestErrorObject(t *testing.T) {
	t.Parallel()
	for err, want := range map[error][2]string{
		fmt.Errorf("a: b"): {"a: b", ""},
		failed(codeNotApplied, fmt.Errorf("a:\n  b\n  c\nhint: d\nhint: e")): {"a:; b; c", "d; e"},
	} {
		if got := errorObject(err); got.Msg != want[0] || got.Details != want[1] {
			t.Errorf("%v: got %+v", err, got)
		}
	}
}
