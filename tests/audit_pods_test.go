package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// auditedPod is a pod of a machine with what was done to it, and what audit has to say.
type auditedPod struct {
	name        string
	annotations map[string]string
	// script runs in the pod, before where its namespace is to be made in another way.
	script, before string
	// silent says that no proxy listens, uncached that the cache has no entry, and linkerds that
	// the proxy is Linkerd's.
	silent, uncached, linkerds bool
	// local says that the proxy answers queries at a loopback address only.
	local bool
	// proxy is who listens instead of somebody of whom nobody knows the processes; unseen says
	// that nobody knows those of proxy either.
	proxy  lab.Identity
	unseen bool
	// state and kinds are what audit says, kinds with blanks between them.
	state, kinds string
	// after is the state after repairing, if that changes it.
	after string
	// mended is the state after what the hints say.
	mended string
}

const (
	byPlugin = `{"initContainers":["istio-validation","istio-proxy"],"containers":null}`
	byItself = `{"initContainers":["istio-init","istio-proxy"],"containers":null}`
	// linkerdArgs are what Linkerd's injector gives by default.
	linkerdArgs = "--incoming-proxy-port 4143 --outgoing-proxy-port 4140 --proxy-uid 2102 " +
		"--inbound-ports-to-ignore 4190,4191,4567,4568 --outbound-ports-to-ignore 4567,4568"

	trafficPrefix = "traffic.sidecar.istio.io/"
	mode          = "sidecar.istio.io/interceptionMode"
)

// auditedPods are of all kinds, with every kind of damage.
func auditedPods() []auditedPod {
	itself := map[string]string{"sidecar.istio.io/status": byItself}
	enrolled := map[string]string{"ambient.istio.io/redirection": "enabled"}
	enrolledWithDNS := map[string]string{"ambient.istio.io/redirection": "enabled", "ambient.istio.io/dns-capture": "true"}
	return []auditedPod{
		{name: "a/plain", annotations: injected(), script: "meshtables", state: "as-wanted"},
		{name: "a/native", annotations: injected(), script: "meshtables --backend=nftables", state: "as-wanted"},
		{name: "a/legacy", annotations: injected(), script: "meshtables --backend=iptables-legacy", state: "as-wanted"},
		{name: "a/comments", annotations: injected(), script: "meshtables --comments", state: "as-wanted"},
		{name: "a/tproxy", annotations: injected(mode, "TPROXY"), script: "meshtables --mode=TPROXY", state: "as-wanted"},
		{name: "a/ports", annotations: injected(trafficPrefix+"excludeInboundPorts", "8080"), script: "meshtables --excluded-ports=15020,15021,15090,8080", state: "as-wanted"},
		{name: "a/dns", annotations: injected("proxy.istio.io/config", `{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}`),
			script: "meshtables --redirect-dns --capture-all-dns", state: "as-wanted"},
		{name: "a/container", annotations: withContainers(), script: docker, state: "as-wanted"},
		{name: "a/container-unheard", annotations: withContainers(), script: docker, local: true, state: "as-wanted", kinds: "proxy-not-listening"},
		{name: "a/excluded-user", annotations: injected("meshtables.github.io/excluded-uids", "tcp:443:5001"), script: "meshtables --excluded-uids=tcp:443:5001", state: "as-wanted"},
		{name: "a/itself", annotations: itself, script: "meshtables --proxy-uid=4711 --proxy-gid=4711", state: "as-wanted"},
		{name: "a/own", annotations: map[string]string{}, script: "meshtables --excluded-ports=7", state: "as-wanted"},
		{name: "a/silent", annotations: injected(), script: "meshtables", silent: true, state: "as-wanted", kinds: "proxy-not-listening"},
		{name: "a/neighbours", annotations: injected(), script: "meshtables; iptables -A INPUT -p udp --dport 9 -j DROP; nft add table inet theirs", state: "as-wanted"},
		{name: "a/uncached", uncached: true, script: "meshtables --excluded-ports=7", state: "as-wanted"},
		{name: "a/uncached-legacy", uncached: true, script: "meshtables --backend=iptables-legacy", state: "as-wanted"},
		{name: "a/ambient", annotations: enrolled, script: "meshtables --dataplane-mode=ambient", state: "as-wanted"},
		{name: "a/ambient-dns", annotations: enrolledWithDNS, script: "meshtables --dataplane-mode=ambient --redirect-dns", state: "as-wanted"},
		{name: "a/ambient-uncached", uncached: true, script: "meshtables --dataplane-mode=ambient --backend=nftables", state: "as-wanted"},

		{name: "a/linkerd", annotations: injectedByLinkerd(), linkerds: true, script: "meshtables " + linkerdArgs, state: "as-wanted"},
		{name: "a/linkerd-ports", annotations: injectedByLinkerd("skip-inbound-ports", "25", "close-wait-timeout", "70s"), linkerds: true,
			script: "meshtables --mesh=linkerd --backend=nftables --excluded-ports=4190,4191,25 --excluded-outbound-ports=4567,4568 --timeout-close-wait-secs=70", state: "as-wanted"},
		{name: "a/linkerd-values", annotations: injectedByLinkerd(), linkerds: true,
			script: "meshtables --mesh=linkerd --proxy-uid=7 --excluded-ports=4190,4191 --excluded-outbound-ports=", state: "as-wanted"},
		{name: "a/linkerd-uncached", uncached: true, script: "meshtables " + linkerdArgs, state: "as-wanted"},

		{name: "a/proxy", annotations: injected(), script: "meshtables --proxy-uid=1000989999", proxy: lab.Identity{UID: 1000989999}, state: "as-wanted"},
		{name: "a/past", annotations: injected(), script: "meshtables; setpriv --reuid=1337 --regid=1337 --clear-groups sleep 3600 >/dev/null 2>&1 &", state: "as-wanted"},
		{name: "a/proxy-group", annotations: itself, script: "meshtables --proxy-gid=7", proxy: lab.Identity{UID: 1000989999, GID: 7}, state: "as-wanted"},
		{name: "a/proxy-range", annotations: itself, script: "meshtables --excluded-uids=1000980000-1000989999", proxy: lab.Identity{UID: 1000989999}, state: "as-wanted"},
		{name: "a/proxy-unseen", annotations: injected(), script: "meshtables", proxy: lab.Identity{UID: 1000989999}, unseen: true, state: "as-wanted"},
		{name: "a/proxy-not-captured", annotations: injected(), script: `meshtables --included-cidrs=`, proxy: lab.Identity{UID: 1000989999}, state: "as-wanted"},
		// Outside of the pod its users have other numbers.
		{name: "a/own-users", annotations: injected(), before: ownUsers, script: "meshtables --backend=nftables",
			proxy: lab.Identity{UID: firstID + 1337, GID: firstID + 1337}, state: "as-wanted"},
		// What an init container there has written is in another form than the node would write.
		{name: "a/own-users-inside", annotations: map[string]string{"sidecar.istio.io/status": byItself}, before: ownUsers, script: withOwnUsers("meshtables --backend=iptables-nft"),
			proxy: lab.Identity{UID: firstID + 1337, GID: firstID + 1337}, state: "as-wanted"},

		{name: "b/plain", annotations: map[string]string{}, state: "not-in-mesh"},
		{name: "b/out", annotations: injected("sidecar.istio.io/inject", "false"), state: "not-in-mesh"},
		{name: "b/none", annotations: injected(mode, "NONE"), state: "not-in-mesh"},
		{name: "b/uncached", uncached: true, script: "iptables -t nat -A OUTPUT -p tcp -j ACCEPT", state: "not-in-mesh"},
		{name: "b/left", annotations: map[string]string{}, script: "meshtables", silent: true, state: "different", kinds: "leftovers", mended: "not-in-mesh"},
		{name: "b/left-ambient", annotations: map[string]string{}, script: "meshtables --dataplane-mode=ambient", silent: true, state: "different", kinds: "leftovers", mended: "not-in-mesh"},

		{name: "b/left-linkerd", annotations: map[string]string{}, script: "meshtables " + linkerdArgs, silent: true, state: "different", kinds: "leftovers", mended: "not-in-mesh"},

		{name: "c/never", annotations: injected(), state: "uncaptured", kinds: "no-rules", after: "as-wanted"},
		{name: "c/flushed", annotations: injected(), script: "meshtables; nft flush ruleset", state: "uncaptured", kinds: "no-rules", after: "as-wanted"},
		{name: "c/empty", annotations: injected(), script: "meshtables; iptables -t nat -F; ip6tables -t nat -F", state: "uncaptured", kinds: "no-rules", after: "as-wanted"},
		{name: "c/itself", annotations: itself, state: "uncaptured", kinds: "no-rules", after: "as-wanted"},
		{name: "c/sandboxed", annotations: injected(), script: "cp /bin/sleep /run/runsc; /run/runsc 3600 >/dev/null 2>&1 &", state: "sandboxed", kinds: "sandbox"},
		{name: "c/silent", annotations: injected(), silent: true, state: "uncaptured", kinds: "no-rules proxy-not-listening", after: "as-wanted"},
		{name: "c/own-users", annotations: injected(), before: ownUsers, proxy: lab.Identity{UID: firstID + 1337, GID: firstID + 1337},
			state: "uncaptured", kinds: "no-rules", after: "as-wanted"},
		{name: "c/ambient", annotations: enrolled, state: "uncaptured", kinds: "no-rules", after: "as-wanted"},
		{name: "c/ambient-silent", annotations: enrolled, silent: true, state: "uncaptured", kinds: "no-rules proxy-not-listening"},

		{name: "c/linkerd", annotations: injectedByLinkerd(), linkerds: true, state: "uncaptured", kinds: "no-rules", after: "as-wanted"},

		{name: "d/ambient", annotations: enrolledWithDNS, script: "meshtables --dataplane-mode=ambient", state: "different", kinds: "drift", after: "as-wanted"},
		{name: "d/ambient-instead", annotations: injected(), script: "meshtables --dataplane-mode=ambient", state: "different", kinds: "other-dataplane", after: "as-wanted"},
		{name: "d/sidecar-instead", annotations: enrolled, script: "meshtables --backend=nftables", state: "different", kinds: "other-dataplane", after: "as-wanted"},
		{name: "d/moved", annotations: injected(), script: "meshtables; iptables -t nat -D ISTIO_INBOUND 1; iptables -t nat -A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
			state: "different", kinds: "drift", after: "as-wanted"},
		{name: "d/other-ports", annotations: injected(trafficPrefix+"excludeOutboundPorts", "443"), script: "meshtables --excluded-outbound-ports=80",
			state: "different", kinds: "drift", after: "as-wanted"},
		{name: "d/other-mode", annotations: injected(mode, "TPROXY"), script: "meshtables", state: "different", kinds: "drift routing", after: "as-wanted"},
		{name: "d/dormant", annotations: injected(), script: `meshtables --backend=nftables; nft "add table inet meshtables { flags dormant; }"`,
			state: "different", kinds: "drift", after: "as-wanted"},
		{name: "d/twice", annotations: injected(), script: "meshtables; iptables-nft-save -t nat | iptables-legacy-restore",
			state: "different", kinds: "two-forms", after: "as-wanted"},
		{name: "d/routes", annotations: injected(mode, "TPROXY"), script: "meshtables --mode=TPROXY; ip rule del fwmark 1337", state: "different", kinds: "routing", after: "as-wanted"},
		{name: "d/redirected", annotations: injected(), script: "meshtables; iptables -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9",
			state: "different", kinds: "foreign-rules", mended: "as-wanted"},
		{name: "d/drops", annotations: injected(), script: "meshtables; iptables -P OUTPUT DROP", state: "different", kinds: "policy-drops", mended: "as-wanted"},
		{name: "d/linkerd-instead", annotations: injected(), script: "meshtables --mesh=linkerd", state: "different", kinds: "other-dataplane", after: "as-wanted"},
		{name: "d/istio-instead", annotations: injectedByLinkerd(), linkerds: true, script: "meshtables", state: "different", kinds: "other-dataplane", after: "as-wanted"},
		{name: "d/istio-beside", annotations: injectedByLinkerd(), linkerds: true,
			script: "meshtables " + linkerdArgs + "; iptables -t nat -N ISTIO_OUTPUT; iptables -t nat -A ISTIO_OUTPUT -p tcp -j REDIRECT --to-port 15001", state: "different", kinds: "other-dataplane", after: "as-wanted"},
		{name: "d/linkerd", annotations: injectedByLinkerd("skip-outbound-ports", "443"), linkerds: true, script: "meshtables " + linkerdArgs, state: "different", kinds: "drift", after: "as-wanted"},
		{name: "d/linkerd-timeout", annotations: injectedByLinkerd("close-wait-timeout", "77s"), linkerds: true,
			script: "meshtables --mesh=linkerd --excluded-ports=4190,4191,4567,4568 --excluded-outbound-ports=4567,4568", state: "different", kinds: "sysctl", after: "as-wanted"},
		{name: "d/another-mesh", annotations: injected(), script: "iptables -t nat -N OTHER_INBOUND; iptables -t nat -A PREROUTING -j OTHER_INBOUND; " +
			"iptables -t nat -A OTHER_INBOUND -p tcp -j REDIRECT --to-port 15006", state: "different", kinds: "other-dataplane"},
		{name: "d/others-and-ours", annotations: injected(), script: "meshtables; iptables -t nat -D ISTIO_OUTPUT 1; iptables -t nat -I OUTPUT -p tcp --dport 80 -j ACCEPT",
			state: "different", kinds: "drift foreign-rules", after: "different", mended: "as-wanted"},
		{name: "c/proxy", annotations: injected(), proxy: lab.Identity{UID: 1000989999}, state: "uncaptured", kinds: "no-rules proxy-user"},
		{name: "d/proxy", annotations: injected(), script: "meshtables", proxy: lab.Identity{UID: 1000989999}, state: "different", kinds: "proxy-user"},
		{name: "d/proxy-linkerd", annotations: injectedByLinkerd(), script: "meshtables " + linkerdArgs, proxy: lab.Identity{UID: 7}, unseen: true, linkerds: true,
			state: "different", kinds: "proxy-user"},
		{name: "d/own-users", annotations: injected(), before: ownUsers, script: "meshtables --backend=nftables",
			proxy: lab.Identity{UID: firstID + 4711, GID: firstID + 4711}, state: "different", kinds: "proxy-user"},
		{name: "d/own-users-inside", annotations: map[string]string{"sidecar.istio.io/status": byItself}, before: ownUsers,
			script: withOwnUsers("meshtables --backend=iptables-nft") + "; iptables -t nat -D ISTIO_INBOUND 2",
			proxy:  lab.Identity{UID: firstID + 1337, GID: firstID + 1337}, state: "different", kinds: "drift", after: "as-wanted"},
		// A process stays: only by one can be seen which ids the namespace has. It is waited for
		// until it has left this namespace, and then until its ids are there.
		{name: "d/users", annotations: injected(), before: "unshare --user --map-root-user --net sleep 3600 >/dev/null 2>&1 & p=$!; " +
			"until [ \"$(readlink /proc/$p/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.01; done; " +
			"until grep -q . /proc/$p/uid_map && grep -q . /proc/$p/gid_map; do sleep 0.01; done; mount --bind /proc/$p/ns/net %s",
			state: "uncaptured", kinds: "no-rules proxy-not-listening"},

		{name: "e/annotation", annotations: injected(trafficPrefix+"excludeInboundPorts", "80x"), state: "unreadable", kinds: "annotations"},
		{name: "e/pods", annotations: injected(), script: "meshtables", state: "unreadable", kinds: "two-pods"},
		{name: "e/no-network", annotations: injected(), before: "unshare --uts=%s true", state: "unreadable", kinds: "failed"},
	}
}

// withContainers are annotations of a pod with Docker in it, and docker is what happens there.
func withContainers() map[string]string {
	return injected("istio.io/reroute-virtual-interfaces", "docker*", "meshtables.github.io/redirect-virtual-dns", "true",
		"proxy.istio.io/config", `{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}`)
}

const docker = "meshtables --virtual-interfaces=docker* --redirect-dns --capture-all-dns --redirect-virtual-dns; " +
	"ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up"

// ownUsers makes a namespace whose users are others outside, from firstID on. By a process that
// stays can be seen which. Files of /proc/net belong to the pod's root only if it is known when the
// network namespace is made (xt_proto_init in net/netfilter/x_tables.c).
var ownUsers = fmt.Sprintf(`unshare --user sleep 3600 >/dev/null 2>&1 & u=$!
	until [ "$(readlink /proc/$u/ns/user)" != "$(readlink /proc/$$/ns/user)" ]; do sleep 0.01; done
	echo 0 %[1]d 65536 >/proc/$u/uid_map; echo 0 %[1]d 65536 >/proc/$u/gid_map
	nsenter --user=/proc/$u/ns/user -- unshare --net sleep 3600 >/dev/null 2>&1 & p=$!
	until [ "$(readlink /proc/$p/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
	mount --bind /proc/$p/ns/net %%s`, firstID)

// withOwnUsers runs a command of a pod with such users as root there: in the user namespace of the process
// that stays. The folder of the program is not theirs.
func withOwnUsers(command string) string {
	program, args, _ := strings.Cut(command, " ")
	return "for p in /proc/[0-9]*; do if [ \"$(readlink $p/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ] && " +
		"[ \"$(readlink $p/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]; then break; fi; done; " +
		"nsenter --user=$p/ns/user -- /proc/self/fd/3 " + args + " 3<$(command -v " + program + ")"
}

// auditMachine is a machine with all these pods, by their numbers.
type auditMachine struct {
	*machine
	rows []auditedPod
	pods []*nodePod
}

func newAuditMachine(t testing.TB) *auditMachine {
	t.Helper()
	a := &auditMachine{machine: newMachine(t), rows: auditedPods()}
	for i, row := range a.rows {
		p := &nodePod{name: row.name, number: i + 1, annotations: row.annotations, uncached: row.uncached, before: row.before}
		a.pods = append(a.pods, p)
		a.start(t, p)
		if row.script != "" {
			a.sh(t, p.in(row.script))
		}
		ports := []int{15001, 15006, 15053}
		if row.linkerds {
			ports = []int{4140, 4143}
		}
		switch {
		case row.proxy != lab.Identity{}:
			a.listenAs(t, p, row.proxy, !row.unseen, ports...)
		case row.before != "" || row.silent || row.annotations == nil:
		case row.local:
			a.listen(t, p, 15001, 15006)
			a.listenAt(t, p, "127.0.0.1:15053")
		default:
			a.listen(t, p, ports...)
		}
	}
	a.sh(t, a.pod("a/plain").in("sleep 3600 >/dev/null 2>&1 &"))
	a.damageCache(t)
	return a
}

// damageCache adds three entries that say nothing about any pod, and two that are about one namespace.
func (a *auditMachine) damageCache(t testing.TB) {
	t.Helper()
	results := filepath.Join(a.cache, "results")
	text, err := os.ReadFile(a.entry("a/plain"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		// Its loopback interface has a broken entry, but the other one tells enough.
		"cni-loopback-" + a.container("a/plain") + "-lo": string(text[:40]),
		"net-corrupt-eth0": string(text[:len(text)/2]),
	} {
		old := filepath.Join(results, name)
		if err := os.WriteFile(old, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a.sh(t, "touch -d '1 hour ago' "+old)
	}
	if err := os.Symlink("/etc/shadow", filepath.Join(results, "net-link-eth0")); err != nil {
		t.Fatal(err)
	}
	gone := &nodePod{name: "x/gone", number: 200, annotations: injected()}
	a.store(t, gone, a.cache)
	// What is left of a namespace that was unmounted.
	unmounted := &nodePod{name: "x/unmounted", number: 201, annotations: injected()}
	a.sh(t, "touch "+unmounted.file())
	a.store(t, unmounted, a.cache)
	for i, row := range a.rows {
		other := &nodePod{name: "x/" + strings.ReplaceAll(row.name, "/", "-"), number: 210 + i, annotations: injected(mode, "NONE"), netns: a.pods[i].file()}
		switch row.name {
		case "a/native":
			// Its addresses are not there: it has ended.
			a.store(t, other, a.cache)
		case "e/pods":
			other.as = a.pods[i].number
			a.store(t, other, a.cache)
		}
	}
}

// pod returns a pod by its name.
func (a *auditMachine) pod(name string) *nodePod {
	for _, p := range a.pods {
		if p.name == name {
			return p
		}
	}
	panic(name)
}

func (a *auditMachine) container(name string) string {
	return fmt.Sprintf("c%063d", a.pod(name).number)
}

// entry returns the file of a pod's entry in the cache.
func (a *auditMachine) entry(name string) string {
	return filepath.Join(a.cache, "results", "net-"+a.container(name)+"-eth0")
}
