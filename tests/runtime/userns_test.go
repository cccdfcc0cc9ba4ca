package runtime

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/meshtables/meshtables/tests/lab"
)

// firstID is what user 0 of a pod with users of its own is outside.
const firstID = 100_000

// In a pod with users of its own (hostUsers: false), which are others outside, the plugin writes
// rules from outside: in the form that the kernel takes from there, about users as the pod numbers
// them. Settings of the namespace can be written from outside too.
func TestUserNamespace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		annotations map[string]string
		log         string
		proxy       proxy
		setting     string
	}{
		"REDIRECT": {annotations: injected(), log: `rules=17 families="IPv4 and IPv6" backend=nftables`, proxy: istios},
		"TPROXY": {
			annotations: injected("sidecar.istio.io/interceptionMode", "TPROXY"), log: "backend=nftables options=--proxy-uid=1337 --mode=TPROXY",
			// Nobody here has the capability in the pod by which it would listen for inbound ones.
			proxy: proxy{0, 15001, istios.as},
		},
		"another user": {
			annotations: injected("meshtables.github.io/excluded-uids", "1000"), log: "backend=nftables options=--proxy-uid=1337 --excluded-uids=1000",
			proxy: istios,
		},
		"Linkerd": {annotations: map[string]string{"linkerd.io/proxy-version": "edge-26.7.1", "config.linkerd.io/close-wait-timeout": "70s"},
			log: "backend=nftables", proxy: linkerds, setting: "70"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ctx := newChain(t, "1.0.0", test.annotations), t.Context()
			own, err := lab.NewWithIDs(ctx, firstID)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { own.Close() })
			c.rt.NetNS = own.Pod.File()
			for _, want := range []string{"result=applied", "result=unchanged"} {
				if _, err := c.cni.AddNetworkList(ctx, c.list, c.rt); err != nil {
					t.Fatal(err)
				}
				log := strings.ReplaceAll(c.log.String(), `"`, "")
				if !strings.Contains(log, want) || !strings.Contains(log, strings.ReplaceAll(test.log, `"`, "")) {
					t.Errorf("%q and %q are missing from\n%s", want, test.log, log)
				}
				c.log.Reset()
			}
			if err := c.cni.CheckNetworkList(ctx, c.list, c.rt); err != nil {
				t.Error(err)
			}
			if test.setting != "" {
				wantSetting(t, own.Pod, test.setting)
			}
			serveOwn(t, own, test.proxy)
			exempt := []lab.Identity{test.proxy.as}
			if name == "another user" {
				exempt = append(exempt, lab.Identity{UID: 1000, GID: 1000})
			}
			wantOwn(t, own, exempt, test.proxy.inbound != 0)
			damaged(t, c, own)
		})
	}
}

// What the entry asks for and the kernel does not take from outside keeps the pod from starting, and
// the message says what does.
func TestUserNamespaceByIPTables(t *testing.T) {
	t.Parallel()
	c, ctx := newChain(t, "1.0.0", injected()), t.Context()
	own, err := lab.NewWithIDs(ctx, firstID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	c.rt.NetNS = own.Pod.File()
	text := strings.Replace(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "first"}, ENTRY]}`, "ENTRY",
		strings.TrimSuffix(entry, "}")+`, "options": {"backend": "iptables-nft"}}`, 1)
	if c.list, err = libcni.ConfListFromBytes([]byte(text)); err != nil {
		t.Fatal(err)
	}
	_, err = c.cni.AddNetworkList(ctx, c.list, c.rt)
	const want = "the match owner takes only ids mapped in the user namespace, and only in the one that owns the network namespace"
	var object *types.Error
	if !errors.As(err, &object) || !strings.Contains(object.Msg, want) || !strings.Contains(object.Details, "--backend=nftables") {
		t.Errorf("got %v, %+v", err, object)
	}
}

// wantSetting reads conntrack's timeout, as Linkerd has it set.
func wantSetting(t *testing.T, pod *lab.Namespace, want string) {
	t.Helper()
	err := pod.Do(func() error {
		have, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait")
		if err == nil && strings.TrimSpace(string(have)) != want {
			err = errors.New("it is " + string(have))
		}
		return err
	})
	if err != nil {
		t.Errorf("the timeout: %v, want %s", err, want)
	}
}

// serveOwn starts the servers of a pod, by users as it numbers them, and those outside.
func serveOwn(t *testing.T, own *lab.Lab, x proxy) {
	t.Helper()
	by := lab.Socket{As: x.as}
	for _, f := range lab.Families() {
		every := unspecified(f)
		err := errors.Join(
			own.Pod.ServeTCP(outbound, by, netip.AddrPortFrom(every, x.outbound)),
			own.Pod.ServeTCP(application, lab.Socket{As: lab.Identity{UID: 1000, GID: 1000}}, netip.AddrPortFrom(every, applicationPort)),
			own.Peer.ServeTCP(outside, lab.Socket{}, lab.Outside.Port(f, 80)),
		)
		if err == nil && x.inbound != 0 {
			err = own.Pod.ServeTCP(inbound, by, netip.AddrPortFrom(every, x.inbound))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantOwn checks who answers what the pod's users send and, with inward, a client of the pod.
func wantOwn(t *testing.T, own *lab.Lab, exempt []lab.Identity, inward bool) {
	t.Helper()
	for _, f := range lab.Families() {
		for _, who := range append([]lab.Identity{{UID: 5000, GID: 5000}, {UID: 0, GID: 0}, {UID: 65000, GID: 65000}}, exempt...) {
			want := outbound
			for _, e := range exempt {
				if who == e {
					want = outside
				}
			}
			if answer, err := ask(t.Context(), own.Pod, who, lab.Outside.Port(f, 80)); err != nil || answer.Server != want {
				t.Errorf("%s: out by user %d: answered by %q, %v, want %q", f, who.UID, answer.Server, err, want)
			}
		}
		if !inward {
			continue
		}
		if answer, err := ask(t.Context(), own.Peer, lab.Identity{}, lab.PodAddr.Port(f, applicationPort)); err != nil || answer.Server != inbound {
			t.Errorf("%s: in: answered by %q, %v, want %q", f, answer.Server, err, inbound)
		}
	}
}

// damaged checks that CHECK notices when the rules are gone.
func damaged(t *testing.T, c *chain, own *lab.Lab) {
	t.Helper()
	if err := own.Pod.Run(t.Context(), lab.Command{Path: "nft", Args: []string{"flush", "ruleset"}}); err != nil {
		t.Fatal(err)
	}
	var object *types.Error
	if err := c.cni.CheckNetworkList(t.Context(), c.list, c.rt); !errors.As(err, &object) || object.Code != 103 {
		t.Errorf("CHECK without rules: %v", err)
	}
}
