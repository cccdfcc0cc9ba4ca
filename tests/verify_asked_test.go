package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// damage is something that is done to rules by a shell.
type damage struct{ name, commands string }

// ofNFT are what people and programs do to rules of iptables-nft. The last three leave rules
// that other options would make.
func ofNFT() []damage {
	both := func(command string) string {
		return "for iptables in iptables-nft ip6tables-nft; do $iptables -t nat " + command + "; done"
	}
	return []damage{
		{"flushed", "iptables-nft -t nat -F"},
		{"flushed and removed", both("-F") + "; " + both("-X")},
		{"one family removed", "ip6tables-nft -t nat -F; ip6tables-nft -t nat -X"},
		{"no jump", both("-D OUTPUT -j ISTIO_OUTPUT")},
		{"a rule less", both("-D ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT")},
		{"a rule more", both("-I ISTIO_OUTPUT 1 -p tcp --dport 25 -j RETURN")},
		{"another port", both("-R ISTIO_REDIRECT 1 -p tcp -j REDIRECT --to-ports 15009")},
		{"an excluded port less", both("-D ISTIO_INBOUND -p tcp --dport 8080 -j RETURN")},
		{"an excluded network less", "iptables-nft -t nat -D ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN"},
	}
}

// ofNative are the same for the native form.
func ofNative() []damage {
	without := func(chain, rule string) string {
		return "h=$(nft -a list chain inet meshtables " + chain + " | sed -n 's/.*" + rule + ".*handle //p'); nft delete rule inet meshtables " + chain + " handle $h"
	}
	return []damage{
		{"flushed", "nft flush table inet meshtables"},
		{"removed", "nft delete table inet meshtables"},
		{"no jump", "nft flush chain inet meshtables OUTPUT"},
		{"a rule less", without("ISTIO_INBOUND", "jump ISTIO_IN_REDIRECT")},
		{"a rule more", "nft insert rule inet meshtables ISTIO_OUTPUT tcp dport 25 counter return"},
		{"another port", "nft 'flush chain inet meshtables ISTIO_REDIRECT; add rule inet meshtables ISTIO_REDIRECT meta l4proto tcp counter redirect to :15009'"},
		{"excluded ports less", without("ISTIO_INBOUND", "excluded-ports")},
		{"an excluded network less", without("ISTIO_OUTPUT", "excluded-cidrs")},
	}
}

// Without options, verify finds whatever is done to rules written over netlink, and names
// the command that mends it.
func TestVerifyWithoutOptions(t *testing.T) {
	t.Parallel()
	for backend, damages := range map[string][]damage{"iptables-nft": ofNFT(), native: ofNative()} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			apply(t, p, "--excluded-ports=15020,8080", "--excluded-cidrs=10.0.0.0/8", "--redirect-dns")
			for _, d := range damages {
				wantVerified(t, p, 0, "recorded")
				inShell(t, p, d.commands)
				v := wantVerified(t, p, 3, "recorded")
				if t.Failed() {
					t.Fatalf("after: %s", d.name)
				}
				mend(t, p, v)
			}
			inShell(t, p, "ip -6 addr del ::6/128 dev lo")
			mend(t, p, wantVerified(t, p, 3, "recorded"))
			wantVerified(t, p, 0, "recorded")
			cleanup(t, p)
			wantVerified(t, p, 3, "defaults")
		})
	}
}

// Where nothing is recorded, verify finds what is not whole.
func TestVerifyWithoutRecord(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables-legacy", "iptables", "iptables-nft", native} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			args := []string{"--excluded-ports=15020,8080", "--redirect-dns"}
			apply(t, p, args...)
			damages, named := ofNFT()[:6], "-nft"
			switch backend {
			case native:
				inShell(t, p, "nft delete table inet meshtables_options")
				damages = ofNative()[2:5]
			case "iptables-nft":
				inShell(t, p, "nft delete table inet meshtables_options")
			case "iptables-legacy":
				named = "-legacy"
			}
			wanted := wantVerified(t, p, 0, "rules")
			for _, d := range damages {
				inShell(t, p, strings.ReplaceAll(d.commands, "-nft", named))
				if v := wantVerified(t, p, 3, "rules"); len(v.Apply) == 0 {
					t.Errorf("%s: no command mends it", d.name)
				}
				if t.Failed() {
					t.Fatalf("after: %s", d.name)
				}
				apply(t, p, args...)
				inShell(t, p, "nft delete table inet meshtables_options 2>/dev/null || true")
			}
			if again := wantVerified(t, p, 0, "rules"); !slices.Equal(again.Options, wanted.Options) {
				t.Errorf("options %q, then %q", wanted.Options, again.Options)
			}

			// Neither the routing table nor comments are among what rules say to packets.
			apply(t, p, "--mode=TPROXY", "--tproxy-table=77", "--comments")
			inShell(t, p, "nft delete table inet meshtables_options 2>/dev/null || true")
			wantVerified(t, p, 0, "rules")
			inShell(t, p, "ip rule del fwmark 1337")
			wantVerified(t, p, 3, "rules")
		})
	}
}

// Of options that are too long to be stored, verify knows whether the rules are still those
// that were written.
func TestVerifyLongOptions(t *testing.T) {
	t.Parallel()
	for backend, dropped := range map[string]string{
		"iptables-nft": "iptables-nft -t nat -D ISTIO_INBOUND 5; ip6tables-nft -t nat -D ISTIO_INBOUND 5",
		native:         "h=$(nft -a list chain inet meshtables ISTIO_INBOUND | sed -n 's/.*excluded-ports.*handle //p'); nft delete rule inet meshtables ISTIO_INBOUND handle $h",
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			long := "--excluded-ports=" + oddNumbers(1000) + ",9,10,11"
			apply(t, p, long, "--excluded-cidrs=10.1.0.0/16,10.0.0.0/16")
			wantVerified(t, p, 0, "rules")
			inShell(t, p, dropped)
			v := wantVerified(t, p, 3, "rules")
			if len(v.Faults) != 1 || len(v.Apply) > 0 {
				t.Errorf("got the faults %q and the command %q", v.Faults, v.Apply)
			}
			if _, out := run(t, p, "verify"); !strings.HasSuffix(out, "hint: apply again with the options that were asked for: they were too long to be recorded\n") {
				t.Errorf("the text is\n%s", out)
			}
			apply(t, p, long, "--excluded-cidrs=10.1.0.0/16,10.0.0.0/16")
			wantVerified(t, p, 0, "rules")
		})
	}
}

// A record that somebody has changed counts as none, and applying writes it anew.
func TestVerifyChangedRecord(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		"nft flush chain inet meshtables_options sidecar",
		"nft 'add rule inet meshtables_options sidecar continue comment \"--ipv6=on\"'",
		"nft -a list chain inet meshtables_options sidecar | sed -n 's/.*proxy-uid.*handle /delete rule inet meshtables_options sidecar handle /p' | nft -f -",
	} {
		p := newPod(t, "iptables-nft")
		apply(t, p, "--excluded-ports=8080")
		inShell(t, p, change)
		var out, messages bytes.Buffer
		c := p.command("verify")
		c.Stdout, c.Stderr = &out, &messages
		if err := p.Pod.Run(t.Context(), c); err != nil || !strings.Contains(messages.String(), "is left out, because somebody has changed it") {
			t.Errorf("%s: %v\n%s%s", change, err, &out, &messages)
		}
		wantVerified(t, p, 0, "rules")
		wantResult(t, p, "unchanged", []string{"--excluded-ports=8080"})
		wantVerified(t, p, 0, "recorded")
	}
}

// verified is the answer of verify.
type verified struct {
	Source         string
	Options, Apply []string
	Faults         []string
}

// wantVerified runs verify without options, which has to end with a status and compare with
// options from a source.
func wantVerified(t *testing.T, p pod, status int, source string) verified {
	t.Helper()
	var out bytes.Buffer
	c := p.command("verify", "--backend="+p.backend, "-O", "json")
	c.Stdout = &out
	var exit *exec.ExitError
	got := 0
	if err := p.Pod.Run(t.Context(), c); errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	var v verified
	if err := json.Unmarshal(out.Bytes(), &v); err != nil || got != status || v.Source != source {
		t.Errorf("want the exit status %d and options from %s, got %d: %v\n%s", status, source, got, err, &out)
	}
	return v
}

// mend runs the command that verify names.
func mend(t *testing.T, p pod, v verified) {
	t.Helper()
	if len(v.Apply) == 0 {
		t.Fatal("no command mends it")
	}
	meshtables(t, p, v.Apply[1:]...)
}

// inShell runs commands in the pod, which have to succeed.
func inShell(t *testing.T, p pod, commands string) {
	t.Helper()
	var out bytes.Buffer
	if err := p.Pod.Run(t.Context(), lab.Command{Path: "sh", Args: []string{"-ec", commands}, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%s: %v\n%s", commands, err, &out)
	}
}
