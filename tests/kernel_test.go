package tests

import (
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/tests/kernels"
	"github.com/meshtables/meshtables/tests/lab"
)

// TestKernel goes through everything that the program does, as the row of the table
// expects it of the kernel that this runs in: "make kernels" runs it in each of them.
func TestKernel(t *testing.T) {
	k, err := kernels.Current()
	if err != nil {
		t.Fatal(err)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	if release := unix.ByteSliceToString(name.Release[:]); !strings.HasPrefix(release, k.Version) {
		t.Fatalf("the kernel is %s, the row's %s", release, k.Version)
	}
	if k.NoIPv6 != (len(lab.Families()) == 1) {
		t.Fatalf("the families are %v", lab.Families())
	}
	t.Run("auto", func(t *testing.T) { choosesAutomatically(t, k) })
	for _, backend := range k.Backends {
		t.Run(backend, func(t *testing.T) { worksOnKernel(t, backend) })
		for _, to := range k.Backends {
			if to != backend {
				t.Run(backend+" to "+to, func(t *testing.T) { movesOnKernel(t, backend, to) })
			}
		}
	}
	if k.NoIPv6 {
		t.Run("IPv6 is refused", func(t *testing.T) { refusesIPv6(t, k) })
	}
	for _, backend := range slices.Sorted(maps.Keys(k.Refused)) {
		t.Run(backend+" is refused", func(t *testing.T) { isRefused(t, k, backend) })
	}
}

// choosesAutomatically sees which backend auto takes, and that it says why.
func choosesAutomatically(t *testing.T, k kernels.Kernel) {
	p := newPod(t, k.Auto)
	status, out := run(t, p, "--log-level=debug")
	families := "IPv4 and IPv6"
	if k.NoIPv6 {
		families = "IPv4"
	}
	for _, want := range []string{k.Auto + ": taken: ", k.Because, "rules for " + families + ", by " + k.Auto + "\n"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("exit status %d, want %q in\n%s", status, want, out)
		}
	}
	cleanup(t, p)
}

// capturingEverything are options by which much of what rules can take is asked for.
func capturingEverything() []string {
	return []string{
		"--mode=TPROXY", "--redirect-dns", "--drop-invalid", "--excluded-ports=" + oddNumbers(40),
		"--virtual-interfaces=auto,net7*,net71", "--redirect-virtual-dns",
	}
}

// worksOnKernel goes through the verbs.
func worksOnKernel(t *testing.T, backend string) {
	p := newPod(t, backend)
	for _, args := range [][]string{{"--mode=REDIRECT"}, capturingEverything()} {
		wantResult(t, p, "applied", args)
		wantResult(t, p, "unchanged", args)
		wantAnswer(t, p, "as wanted", slices.Concat([]string{"verify", "--backend=" + backend}, args)...)
		wantAnswer(t, p, backend, "show")
		wantAnswer(t, p, "passed: ", slices.Concat([]string{"probe"}, args)...)
		wantAnswer(t, p, "captured", "explain", "--live")
		wantCaptured(t, p, "in", lab.PodAddr)
		wantCaptured(t, p, "out", lab.Outside)
	}
	if out := meshtables(t, p, "--cleanup-only"); out != "removed\n" {
		t.Errorf("removal says %q", out)
	}
	if out := meshtables(t, p, "--cleanup-only"); out != "nothing to remove\n" {
		t.Errorf("second removal says %q", out)
	}
}

// wantAnswer fails unless the answer has a text in it.
func wantAnswer(t *testing.T, p pod, want string, args ...string) {
	t.Helper()
	if out := meshtables(t, p, args...); !strings.Contains(out, want) {
		t.Errorf("meshtables %s: want %q in\n%s", strings.Join(args, " "), want, out)
	}
}

// wantCaptured asks explain, and the kernel where it can trace, about a connection with
// each family.
func wantCaptured(t *testing.T, p pod, direction string, to lab.Addr) {
	t.Helper()
	for _, f := range lab.Families() {
		// What TPROXY takes, and nobody listens for, the kernel drops.
		stop, err := p.Pod.Listen(lab.Socket{Transparent: true}, anyAddr().Port(f, inboundPort), acceptAll)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		args := []string{"explain", direction, to.Port(f, 80).String(), "--live", "-O", "json"}
		if !isLegacy(p.backend) {
			args = append(args, "--trace")
		}
		var told struct {
			Verdict string
			Trace   *struct{ Agrees bool }
		}
		if err := json.Unmarshal([]byte(meshtables(t, p, args...)), &told); err != nil {
			t.Fatal(err)
		}
		captured := told.Verdict == "redirected" || told.Verdict == "tproxied"
		if !captured || told.Trace == nil && !isLegacy(p.backend) || told.Trace != nil && !told.Trace.Agrees {
			t.Errorf("%s: %q says %+v", f, args, told)
		}
	}
}

func acceptAll(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

// isLegacy reports whether a backend writes where nothing can be traced.
func isLegacy(backend string) bool { return backend == "iptables-legacy" }

// movesOnKernel moves rules, which are then in one form only.
func movesOnKernel(t *testing.T, from, to string) {
	p := newPod(t, from)
	apply(t, p, capturingEverything()...)
	p.backend = to
	apply(t, p, capturingEverything()...)
	wantAnswer(t, p, "as wanted", append([]string{"verify", "--backend=" + to}, capturingEverything()...)...)
	var shown struct{ Backends []struct{ Backend string } }
	if err := json.Unmarshal([]byte(meshtables(t, p, "show", "-O", "json")), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Backends) != 1 {
		t.Errorf("the rules are in %v", shown.Backends)
	}
	cleanup(t, p)
}

// isRefused sees that a backend which cannot be used fails, says what is missing, and
// leaves nothing.
func isRefused(t *testing.T, k kernels.Kernel, backend string) {
	p := newPod(t, k.Auto)
	status, out := run(t, p, append([]string{"--backend=" + backend}, capturingEverything()...)...)
	untouched := strings.Contains(out, "nothing was changed") || strings.Contains(out, "the old rules are still in place")
	if status != 1 || !strings.Contains(out, k.Refused[backend]) || !untouched {
		t.Errorf("exit status %d, want %q in\n%s", status, k.Refused[backend], out)
	}
	if out := meshtables(t, p, "--cleanup-only"); out != "nothing to remove\n" {
		t.Errorf("removal says %q", out)
	}
}

// refusesIPv6 sees that rules for IPv6 which cannot be are an error, and change nothing.
func refusesIPv6(t *testing.T, k kernels.Kernel) {
	p := newPod(t, k.Auto)
	status, out := run(t, p, "--ipv6=on")
	if status != 1 || !strings.Contains(out, "IPv6") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if out := meshtables(t, p, "--cleanup-only"); out != "nothing to remove\n" {
		t.Errorf("removal says %q", out)
	}
}
