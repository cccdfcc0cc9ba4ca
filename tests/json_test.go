package tests

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// TestJSON compares what the program prints in JSON with docs/json.md: every field that
// it prints is documented, with its type and its values, and everything documented is
// printed by one of these runs. TestScripts checks its answers against the document too.
func TestJSON(t *testing.T) {
	t.Parallel()
	if err := lab.Available(); err != nil {
		missing(t, err.Error())
	}
	for _, program := range []string{"iptables-nft", "iptables-legacy", "nft", "setpriv"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, err.Error())
		}
	}
	s := readSchema(t)
	t.Run("runs", func(t *testing.T) {
		for _, runs := range jsonRuns() {
			t.Run(runs.name, func(t *testing.T) {
				t.Parallel()
				p := newPod(t, "iptables-nft")
				if runs.proxy {
					serveProxy(t, p, true)
				}
				folder := t.TempDir()
				for line := range strings.Lines(runs.commands) {
					if command := strings.TrimSpace(line); command != "" {
						checkJSONRun(t, s, p, folder, command)
					}
				}
			})
		}
	})
	t.Run("audit", func(t *testing.T) { checkJSONOfAudit(t, s) })
	t.Run("interceptors", func(t *testing.T) { checkJSONOfInterceptors(t, s) })
	for _, what := range s.unseen() {
		t.Errorf("docs/json.md has %s, which no run prints", what)
	}
}

// checkJSONRun runs a command by a shell in the pod and compares what it prints. Its exit
// status is no matter: answers that say that something is wrong are answers. FOLDER is a
// folder for what the commands of a run write.
func checkJSONRun(t *testing.T, s *schema, p pod, folder, command string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	_ = p.Pod.Run(t.Context(), lab.Command{
		Path: "sh", Args: []string{"-c", command},
		Env:    []string{"PATH=" + filepath.Dir(built.Program()) + ":" + os.Getenv("PATH"), "FOLDER=" + folder},
		Stdout: &stdout, Stderr: &stderr,
	})
	heading := answerOf(strings.Fields(command))
	switch {
	case strings.Contains(command, "--log-format=json"):
		if err := s.checkMessages(stderr.Bytes()); err != nil || stderr.Len() == 0 {
			t.Errorf("%s: %v\n%s", command, err, &stderr)
		}
	case heading != "":
		if err := s.checkAnswer(heading, stdout.Bytes()); err != nil {
			t.Errorf("%s: %v\n%s%s", command, err, &stdout, &stderr)
		}
	case stderr.Len() > 0:
		// What prepares a run has to work.
		t.Fatalf("%s: %s", command, &stderr)
	}
}

// commands are some for a pod of their own, one a line.
type commands struct {
	name     string
	proxy    bool // whether a proxy listens in the pod
	commands string
}

func jsonRuns() []commands {
	return []commands{
		{name: "apply", commands: `
			meshtables -O json
			meshtables -O json
			meshtables --backend=nftables -O json
			meshtables --backend=iptables-legacy -O json
			meshtables --backend=iptables -O json
			meshtables --cleanup-only --dry-run --backend=iptables -O json
			meshtables --backend=iptables-legacy -O json
			meshtables --cleanup-only --dry-run -O json
			meshtables --backend=nftables -O json
			meshtables --ipv6=off -O json
			meshtables --cleanup-only --dry-run -O json
			meshtables --run-validation --skip-rule-apply -O json
			meshtables --cleanup-only -O json
			meshtables --cleanup-only -O json
			meshtables --mode=TPROXY --redirect-dns --dry-run -O json
			meshtables --dry-run --ipv6=off -O json
			meshtables -v --reconcile --tproxy-mark=7 --banana --log-format=json
			meshtables -v --reconcile --tproxy-mark=7 --log-format=json
		`},
		{name: "verify and show", commands: `
			meshtables show -O json
			meshtables --mode=TPROXY --redirect-dns --drop-invalid
			meshtables verify --mode=TPROXY --redirect-dns --drop-invalid -O json
			meshtables verify -O json
			meshtables verify --mode=REDIRECT -O json
			meshtables show -O json
			iptables -t nat -I OUTPUT -p tcp -j ACCEPT
			iptables -t mangle -P OUTPUT DROP
			meshtables verify --mode=TPROXY --redirect-dns --drop-invalid -O json
			meshtables show -O json
			iptables -t mangle -P OUTPUT ACCEPT
			iptables -t nat -D OUTPUT 1
			meshtables --comments
			meshtables verify --comments=false -O json
			meshtables --backend=iptables
			meshtables verify --backend=iptables --excluded-ports=80 -O json
			meshtables show --backend=iptables -O json
			meshtables --backend=iptables-legacy
			meshtables verify -O json
			meshtables verify --backend=iptables-legacy -O json
			meshtables show -O json
			meshtables --backend=iptables-nft
			meshtables verify --backend=iptables-legacy -O json
			meshtables --backend=nftables
			nft add table inet meshtables '{ flags dormant; }'
			meshtables verify --backend=nftables -O json
			meshtables verify --excluded-ports=80 -O json
			meshtables verify --backend=iptables-nft -O json
			meshtables show -O json
			meshtables --cleanup-only --dry-run -O json
			meshtables --cleanup-only
			nft add table inet meshtables '{ flags dormant; }'
			meshtables --cleanup-only --dry-run -O json
			meshtables verify -O json
			meshtables show -O json
		`},
		{name: "foreign rules", commands: `
			meshtables --redirect-dns
			iptables -t nat -I OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 9
			iptables -t nat -I OUTPUT -p tcp -m statistic --mode random --probability 0.5 -j ACCEPT
			iptables -A INPUT -p tcp --dport 15006 -j DROP
			iptables -t raw -I OUTPUT -p udp --dport 53 -j CT --notrack
			meshtables verify -O json
			meshtables explain out 203.0.113.10:81 --live -O json
			meshtables explain --live -O json
			iptables -F
			iptables -A OUTPUT -p tcp --sport 15006 -j DROP
			iptables-legacy -t nat -A OUTPUT -p tcp --dport 83 -j REDIRECT --to-ports 9
			ip6tables -t nat -I OUTPUT -p tcp -j ACCEPT
			meshtables verify -O json
			meshtables explain --live -O json
			meshtables explain out 203.0.113.10:83 --trace -O json
			iptables -F
			iptables -A INPUT -p tcp --dport 15006 -m conntrack --ctstate ESTABLISHED -j DROP
			meshtables verify -O json
			iptables -F
			iptables -t nat -F OUTPUT
			ip6tables -t nat -F OUTPUT
			iptables -t raw -F
			iptables-legacy -t nat -F
			meshtables
			iptables -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9
			meshtables explain out 203.0.113.10:84 --trace -O json
			iptables -t nat -F OUTPUT
			meshtables --mode=TPROXY
			ip rule add pref 1 fwmark 1337 lookup main
			meshtables verify -O json
			meshtables explain in 192.0.2.77:80 --live -O json
			meshtables --backend=nftables
			nft insert rule inet meshtables OUTPUT tcp dport 25 accept
			meshtables verify -O json
		`},
		{name: "ambient", commands: `
			meshtables --dataplane-mode=ambient --redirect-dns -O json
			meshtables verify -O json
			meshtables verify --excluded-ports=80 -O json
			meshtables --replace-dataplane -O json
			meshtables verify --dataplane-mode=ambient -O json
			meshtables --dataplane-mode=ambient --replace-dataplane
			meshtables verify --excluded-ports=80 -O json
			meshtables show -O json
			meshtables explain --live -O json
			meshtables explain out 203.0.113.10:80 --live -O json
			meshtables probe -O json
		`},
		{name: "linkerd", commands: `
			meshtables --mesh=linkerd --timeout-close-wait-secs=70 --dry-run -O json
			meshtables --mesh=linkerd --timeout-close-wait-secs=70 -O json
			meshtables explain --live -O json
			sysctl -q -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=60
			meshtables verify -O json
			meshtables verify --mode=REDIRECT -O json
			meshtables show -O json
			meshtables probe -O json
		`},
		{name: "host", commands: `
			meshtables host --pods=10.244.1.7 -O json
			meshtables host --add-pods=10.244.1.7 -O json
			meshtables show -O json
			meshtables verify -O json
			meshtables verify --excluded-ports=80 -O json
			meshtables explain --live -O json
			meshtables host --add-pods=10.244.1.9
			meshtables explain out 10.244.1.9:80 --live -O json
			ip route add 10.244.1.9 dev lo table 77
			ip rule add pref 3 from 10.244.1.7 to 10.244.1.9 lookup 77
			sysctl -qw net.ipv4.conf.eth0.rp_filter=1
			meshtables explain out 10.244.1.9:80 --live -O json
			iptables -t nat -I POSTROUTING -j MASQUERADE
			meshtables verify -O json
			iptables -t nat -F
			meshtables host --verify -O json
			meshtables host --verify --pods=10.244.1.8 --pod-interfaces -O json
			ipset flush
			meshtables host --verify --pods=10.244.1.7 -O json
			meshtables host --cleanup-only -O json
			ipset destroy || true
			meshtables host --verify --pods=10.244.1.7 -O json
		`},
		{name: "explain", commands: `
			meshtables explain --live -O json
			meshtables explain --dataplane-mode=ambient -O json
			meshtables explain in :80 -O json
			meshtables explain out 203.0.113.10:53 --proto=udp --redirect-dns --capture-all-dns -O json
			meshtables explain in 10.244.1.7:80 --ctstate=INVALID --drop-invalid -O json
			meshtables explain in 10.244.1.7:80 --ctstate=ESTABLISHED -O json
			meshtables explain in 10.244.1.7:80 --from=192.0.2.9:1234 --in-interface=eth0 --mode=TPROXY -O json
			meshtables explain --drop-invalid --mode=TPROXY --excluded-ports=80 -O json
			meshtables explain -O json
			meshtables
			meshtables explain out 203.0.113.10:443 --trace -O json
			meshtables explain in 10.244.1.7:80 --trace --in-interface=net7 -O json
			meshtables --mode=TPROXY
			meshtables explain in 10.244.1.7:80 --trace -O json
			meshtables explain in 10.244.1.7:15021 --trace -O json
			meshtables --ipv6=off
			iptables -t mangle -I OUTPUT -p udp -j DROP
			meshtables explain out 203.0.113.10:53 --proto=udp --trace -O json
			iptables -t mangle -F
			ip route add unreachable 203.0.113.11
			meshtables explain out 203.0.113.11:80 --trace -O json
			iptables -t nat -N OTHER
			iptables -t nat -A OTHER -p tcp --dport 82 -j DNAT --to-destination 203.0.113.99:83
			iptables -t nat -I OUTPUT ! -d 127.0.0.0/8 -m string --algo bm --string nowhere -j OTHER
			iptables -t nat -I OUTPUT -p tcp --dport 82 -j OTHER
			meshtables explain out 203.0.113.10:80 --trace -O json
			meshtables explain out 203.0.113.10:82 --trace -O json
		`},
		{name: "explain to a proxy", proxy: true, commands: `
			meshtables --mode=TPROXY
			meshtables explain in 10.244.1.7:80 --trace -O json
		`},
		{name: "cni", commands: `
			mkdir -p $FOLDER/bin $FOLDER/net.d $FOLDER/cache/results
			echo '{"name": "pods", "plugins": [{"type": "ptp"}]}' >$FOLDER/net.d/pods.conflist
			meshtables cni install --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d -O json
			meshtables cni install --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d -O json
			echo '{"kind": "cniCacheV1", "containerId": "c0ffee", "config": "'$(base64 -w0 $FOLDER/net.d/pods.conflist)'"}' >$FOLDER/cache/results/pods-c0ffee-eth0
			meshtables cni uninstall --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d --cni-cache=$FOLDER/cache -O json
			meshtables cni uninstall --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d --cni-cache=$FOLDER/cache --force -O json
			meshtables cni uninstall --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d --cni-cache=$FOLDER/cache -O json
			meshtables cni install --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d --cni-cache=$FOLDER/cache --install-mode=own -O json
			meshtables cni install --plugin-folder=$FOLDER/bin --network-folder=$FOLDER/net.d --cni-cache=$FOLDER/cache --install-mode=drop-in -O json
		`},
		{name: "probe", commands: `
			meshtables probe -O json
			meshtables
			meshtables probe -O json
			meshtables --redirect-dns --capture-all-dns
			setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin meshtables probe --redirect-dns --capture-all-dns -O json
			meshtables probe --excluded-cidrs=0.0.0.0/1,128.0.0.0/1 --ipv6=off -O json
			meshtables --cleanup-only
			meshtables probe --ipv6=off --probe-timeout=400ms -O json
		`},
	}
}

// A field that no run prints is documented all the same.
func TestJSONTags(t *testing.T) {
	t.Parallel()
	documented := make(map[string]bool)
	for _, fields := range readSchema(t).objects {
		for _, f := range fields {
			documented[f.name] = true
		}
	}
	tag := regexp.MustCompile("`json:\"([^,\"]*)")
	for _, folder := range []string{"../cmd/meshtables", "../iptables"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, m := range tag.FindAllStringSubmatch(readDocument(t, path), -1) {
				if m[1] != "-" && !documented[m[1]] {
					t.Errorf("%s: docs/json.md has no field %q", path, m[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
