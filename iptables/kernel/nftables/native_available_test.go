package nftables

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"golang.org/x/sys/unix"
)

// The kernel takes every made-up plan, and asking it leaves nothing behind.
func TestNativeAvailable(t *testing.T) {
	nstest.Enter(t)
	unchanged(t, func() {
		for seed := range uint64(40) {
			if err := NewNative(nstest.Here(t), owned).Available(t.Context(), NewNative(nil, owned).Form(plantest.Random(seed))); err != nil {
				t.Error(err)
			}
		}
	})
	if left := nstest.Run(t, "nft", "list", "ruleset"); left != "" {
		t.Errorf("left over:\n%s", left)
	}
}

// withoutCompat is a kernel without nft_compat: it knows neither the expressions
// match and target nor the subsystem that tells about them.
func withoutCompat() faulty {
	return faulty{onSend: func(request []byte) []byte {
		for _, name := range []string{"match", "target"} {
			var attribute netlink.Builder
			attribute.PutString(unix.NFTA_EXPR_NAME, name)
			if bytes.Contains(request, attribute.Bytes()) {
				return refusal(sequenceOf(request), unix.ENOENT)
			}
		}
		if kindOf(request) == compatGet {
			return refusals(request, unix.EINVAL)
		}
		return nil
	}}
}

// Without nft_compat the native form is written, read, replaced and removed, and
// the other form is known to be unavailable.
func TestNativeWithoutCompat(t *testing.T) {
	nstest.Enter(t)
	ns := WithoutCompat()
	compatible, native := New(ns, owned), NewNative(ns, owned)
	plan := planOf(t, "sidecar-default-dual-stack")
	if err := compatible.Available(t.Context(), compatible.Form(plan)); !errors.Is(err, ErrMissing) {
		t.Errorf("the compatible form: got %v", err)
	}
	if err := compatible.Replace(t.Context(), installed.Backend{}, compatible.Form(plan)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("writing the compatible form: got %v", err)
	}
	for seed := range uint64(40) {
		want := native.Form(plantest.Random(seed))
		if err := native.Available(t.Context(), want); err != nil {
			t.Error(err)
		}
		if err := native.Replace(t.Context(), installed.Backend{}, want); err != nil {
			t.Fatal(err)
		}
		have, err := native.Load(t.Context())
		if own := owned.Of(have.Rules); err != nil || !own.Equal(&want) {
			t.Errorf("got %v\n%s", err, text(own))
		}
	}
	if err := native.Replace(t.Context(), installed.Backend{}, iptables.Ruleset{}); err != nil {
		t.Error(err)
	}
}

// What the kernel lacks is told, in the words of this form.
func TestNativeUnavailable(t *testing.T) {
	nstest.Enter(t)
	b := faultyBackend(faulty{onSend: func(request []byte) []byte {
		if isBatch(request) {
			return refusal(firstRule(t, request, "redir\x00"), unix.ENOENT)
		}
		return nil
	}})
	b.native = true
	plan := b.Form(planOf(t, "sidecar-default"))
	for name, err := range map[string]error{
		"asking":  b.Available(t.Context(), plan),
		"writing": b.Replace(t.Context(), installed.Backend{}, plan),
	} {
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "load the modules nft_redir, or ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
