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
	p := newPod(t, "iptables-nft")
	ports := make([]string, large)
	for i := range ports {
		// Ports that touch would become one range.
		ports[i] = fmt.Sprint(2*i + 1)
	}
	// A rule takes up to 15 of them, for each family.
	applyLarge(t, p, "--dports ", 2*large/15, "--excluded-ports="+strings.Join(ports, ","))

	cidrs := make([]string, large)
	for i := range cidrs {
		cidrs[i] = fmt.Sprintf("203.%d.%d.0/24", i/256, i%256)
		if i%2 == 1 {
			cidrs[i] = fmt.Sprintf("2001:db8:%x::/48", i)
		}
	}
	file := annotation(t, "excludeOutboundIPRanges", strings.Join(cidrs, ","))
	applyLarge(t, p, "-A ISTIO_OUTPUT -d 2", large, file)

	cleanup(t, p)
	if left := save(t, p); left != "" {
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

// applyLarge applies what the argument asks for, which must be there: that many
// rules, at least, that contain the words.
func applyLarge(t *testing.T, p pod, words string, least int, arg string) {
	t.Helper()
	before := nftGeneration(t, p)
	apply(t, p, arg)
	meshtables(t, p, "verify", arg)
	if out := meshtables(t, p, arg); !strings.HasPrefix(out, "unchanged") {
		t.Errorf("the second run says %q", out)
	}
	if transactions := nftGeneration(t, p) - before; transactions > 1 {
		t.Errorf("%d transactions, want one", transactions)
	}
	if n := strings.Count(save(t, p), words); n < least {
		t.Errorf("%d rules with %q, want %d at least", n, words, least)
	}
}
