package kernel

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

func TestInstallWaitsForOtherCopies(t *testing.T) {
	nstest.Enter(t)
	choice := choose(t, string(xtables.NFT))
	unlock, err := lock(t.Context(), nstest.Here(t))
	if err != nil {
		t.Fatal(err)
	}
	before := observed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Install(ctx, nstest.Here(t), wanting(choice, natRules(iptables.Return)), routing()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another copy it returns %v, want %v", err, context.DeadlineExceeded)
	}
	if now := observed(t); now != before {
		t.Errorf("beside another copy it changes:\n%s\nto\n%s", before, now)
	}
	unlock()
	if _, err := Install(t.Context(), nstest.Here(t), wanting(choice, natRules(iptables.Return)), routing()); err != nil {
		t.Errorf("after the other copy it returns %v", err)
	}
}

// Whoever holds the lock and does nothing cannot keep the rules from changing.
func TestInstallDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	choice := choose(t, string(xtables.NFT))
	unlock, err := lock(t.Context(), nstest.Here(t))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	report, err := Install(t.Context(), nstest.Here(t), wanting(choice, natRules(iptables.Return)), routing())
	if err != nil || !report.Changed {
		t.Errorf("beside a lock that is not given back: %v, %v", report.Changed, err)
	}
}
