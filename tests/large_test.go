package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const large = 10_000

// TestLargeLists applies 10,000 excluded ports and then 10,000 excluded CIDRs, each
// in one transaction.
func TestLargeLists(t *testing.T) {
	t.Parallel()
	t.Run("iptables-nft", func(t *testing.T) {
		t.Parallel()
		// A rule takes up to 15 ports, for each family, and a prefix.
		largeLists(t, newPod(t, "iptables-nft"), save, words{"--dports ", 2 * large / 15}, words{"-A ISTIO_OUTPUT -d 2", large})
	})
	t.Run(native, func(t *testing.T) {
		t.Parallel()
		// A set has all ports, or all prefixes of a family.
		largeLists(t, newPod(t, native), nativeText, words{", ", large - 1}, words{", ", large - 2})
	})
}

// words are what a text has so often, at least.
type words struct {
	text  string
	least int
}

func (w words) wantIn(t *testing.T, listed string) {
	t.Helper()
	if n := strings.Count(listed, w.text); n < w.least {
		t.Errorf("%d times %q, want %d at least", n, w.text, w.least)
	}
}

// largeLists looks for ports and CIDRs in what list prints.
func largeLists(t *testing.T, p pod, list func(*testing.T, pod) string, ofPorts, ofCIDRs words) {
	t.Helper()
	ports := make([]string, large)
	for i := range ports {
		// Ports that touch would become one range.
		ports[i] = fmt.Sprint(2*i + 1)
	}
	applyLarge(t, p, "--excluded-ports="+strings.Join(ports, ","))
	ofPorts.wantIn(t, list(t, p))

	cidrs := make([]string, large)
	for i := range cidrs {
		cidrs[i] = fmt.Sprintf("203.%d.%d.0/24", i/256, i%256)
		if i%2 == 1 {
			cidrs[i] = fmt.Sprintf("2001:db8:%x::/48", i)
		}
	}
	file := annotation(t, "excludeOutboundIPRanges", strings.Join(cidrs, ","))
	applyLarge(t, p, file)
	ofCIDRs.wantIn(t, list(t, p))

	cleanup(t, p)
	if left := program(t, p, "", "nft", "list", "ruleset"); left != "" {
		t.Errorf("left behind: %.1000s", left)
	}
}

// annotation returns the argument that gives the program an annotation. An
// argument itself, and a variable of the environment, ends at 128 KiB
// (MAX_ARG_STRLEN in linux/binfmts.h), which 10,000 CIDRs exceed.
func annotation(t *testing.T, key, value string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "annotations")
	line := fmt.Sprintf("traffic.sidecar.istio.io/%s=%q\n", key, value)
	if err := os.WriteFile(file, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	return "--annotations=" + file
}

// applyLarge applies what the argument asks for.
func applyLarge(t *testing.T, p pod, arg string) {
	t.Helper()
	before := nftGeneration(t, p)
	apply(t, p, arg)
	meshtables(t, p, "verify", "--backend="+p.backend, arg)
	if out := meshtables(t, p, "--backend="+p.backend, arg); !strings.HasPrefix(out, "unchanged") {
		t.Errorf("the second run says %q", out)
	}
	if transactions := nftGeneration(t, p) - before; transactions > 1 {
		t.Errorf("%d transactions, want one", transactions)
	}
}
