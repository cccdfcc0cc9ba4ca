package tests

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// The audit's DaemonSet has the capabilities that it needs, and none that it does not.
func TestAuditPrivileges(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	plain := &nodePod{name: "shop/plain", number: 1, annotations: injected()}
	// Whose users are others outside.
	own := &nodePod{name: "shop/own", number: 2, annotations: injected(), before: ownUsers}
	m.start(t, plain)
	m.start(t, own)
	for p, first := range map[*nodePod]uint32{plain: 0, own: firstID} {
		m.sh(t, p.in("meshtables --backend=nftables --ipv6=on"))
		// The kernel has legacy tables, and a list of them in each namespace.
		m.sh(t, p.in("iptables-legacy-save >/dev/null"))
		m.listenAs(t, p, lab.Identity{UID: first + 4711, GID: first + 4711}, true, 15001, 15006)
	}
	states := []string{"uncaptured", "different", "unreadable", "as-wanted", "not-in-mesh"}
	look := func(capabilities []string) (found string, hints []string) {
		bounding := "-all"
		for _, c := range capabilities {
			bounding += ",+" + strings.ToLower(c)
		}
		stdout, stderr, _ := m.run(t, "setpriv", "--bounding-set="+bounding, "--inh-caps=-all",
			built.Program(), "audit", "--cni-cache="+m.cache, "--network-folder="+m.networks)
		var all []string
		for line := range strings.Lines(stdout) {
			if hint, ok := strings.CutPrefix(strings.TrimSpace(line), "hint: "); ok {
				hints = append(hints, hint)
			} else if pod, rest, _ := strings.Cut(line, " "); strings.HasPrefix(pod, "shop/") {
				i := slices.IndexFunc(strings.Fields(rest), func(word string) bool { return slices.Contains(states, word) })
				all = append(all, pod+" "+strings.Fields(rest)[i])
			}
		}
		slices.Sort(all)
		if len(all) == 0 {
			all = []string{stdout + stderr}
		}
		return strings.Join(all, ", "), hints
	}
	needed := auditCapabilities(t)
	const wanted = "shop/own different, shop/plain different"
	if found, _ := look(needed); found != wanted {
		t.Errorf("with %q: %s", needed, found)
	}
	for _, missing := range needed {
		found, hints := look(slices.DeleteFunc(slices.Clone(needed), func(c string) bool { return c == missing }))
		if found == wanted {
			t.Errorf("%s is not needed", missing)
		}
		const hint = "run with the capability DAC_READ_SEARCH: the network namespace belongs to another user namespace (hostUsers: false)"
		if missing == "DAC_READ_SEARCH" && (found != "shop/own unreadable, shop/plain as-wanted" || !slices.Contains(hints, hint)) {
			t.Errorf("without %s: %s, %q", missing, found, hints)
		}
	}
}

// auditCapabilities returns those that the DaemonSet in deploy/audit has.
func auditCapabilities(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../deploy/audit/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						SecurityContext struct {
							Capabilities struct{ Add []string }
						} `yaml:"securityContext"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	return set.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add
}
