package nftables

import (
	"errors"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"golang.org/x/sys/unix"
)

func TestRefusals(t *testing.T) {
	missingOwner := func(request []byte) []byte {
		if kindOf(request) != compatGet {
			return nil
		}
		var answers []byte
		for m := range split(request) {
			if strings.Contains(string(m), "owner\x00") {
				answers = append(answers, refusal(sequenceOf(m), unix.ENOENT)...)
			} else {
				// Anything but a refusal is a yes.
				answers = append(answers, m...)
			}
		}
		return answers
	}
	tests := []struct {
		name   string
		errno  unix.Errno
		onRule bool
		want   string
	}{
		{"no xt_owner", unix.ENOENT, true, "the kernel has no match owner (revision 1) for nf_tables"},
		{"no nft_compat", unix.EOPNOTSUPP, true, "the kernel has no match owner (revision 1) for nf_tables"},
		{"ids not mapped", unix.EINVAL, true, "(-o lo -m owner ! --uid-owner 1337 -j RETURN): the match owner takes only ids"},
		{"busy", unix.EBUSY, true, "device or resource busy"},
		{"out of memory", unix.ENOMEM, false, "failed to change the rules: the kernel has no memory for the transaction: cannot allocate memory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			old := sidecarRules(t)
			replace(t, old)
			want := iptables.Ruleset{Tables: []iptables.Table{{Family: iptables.IPv4, Name: iptables.Nat}}}
			want.Tables[0].Append("ISTIO_NEW", iptables.Rule{
				Out:     iptables.Interface{Name: "lo"},
				Matches: []iptables.Match{iptables.Owner{UID: iptables.NotID(1337)}},
				Target:  iptables.Return,
			})
			b := faultyBackend(faulty{onSend: func(request []byte) []byte {
				if !isBatch(request) {
					return missingOwner(request)
				}
				if tt.onRule {
					return refusal(firstRule(t, request, ""), tt.errno)
				}
				return refusal(sequenceOf(request), tt.errno)
			}})
			err := b.Replace(t.Context(), installed.Backend{}, want)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, tt.errno) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if !strings.Contains(err.Error(), "the old rules are still in place") {
				t.Errorf("got %v", err)
			}
			isInstalled(t, old)
		})
	}
}

// A jump that hides in a verdict map holds the chain; the transaction fails as a
// whole.
func TestChainInUse(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	replace(t, want)
	nstest.Run(t, "nft", "add chain ip nat theirs; add rule ip nat theirs tcp dport vmap { 1 : jump ISTIO_REDIRECT }")
	err := New(nstest.Here(t), owned).Replace(t.Context(), found(t), iptables.Ruleset{})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "failed to delete chain ISTIO_REDIRECT of table ip nat") {
		t.Errorf("got %v", err)
	}
	isInstalled(t, want)
}
