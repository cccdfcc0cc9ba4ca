package nftables_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/verify"
)

// Without nft_compat all of installing works in the native form: from nothing, again,
// into the other mode, with its routing, and away. The other form is refused, with
// nothing changed.
func TestInstallWithoutCompat(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	ns := nftables.WithoutCompat()
	compatible, native := nftables.New(ns, sidecar.Ownership()), nftables.NewNative(ns, sidecar.Ownership())
	redirect, tproxy := sidecar.Default(), sidecar.Default()
	tproxy.Mode, tproxy.RedirectDNS, tproxy.CaptureAllDNS = sidecar.ModeTProxy, true, true
	isInstalled := func(want iptables.Ruleset) {
		t.Helper()
		have, err := native.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if differences := verify.Rules(&want, installed.Alone(have.Rules, have.Ownership)); len(differences) > 0 {
			t.Errorf("got %v", differences)
		}
	}
	facts := host.Host{Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::7/64")}}
	for _, c := range []struct {
		cfg     sidecar.Config
		changes bool
	}{{redirect, true}, {redirect, false}, {tproxy, true}, {tproxy, false}, {redirect, true}} {
		plan := c.cfg.Plan(facts)
		choice := kernel.Choice{Backend: native, Rules: native.Form(plan.Rules)}
		report, err := kernel.Install(t.Context(), ns, choice, plan.Routing)
		if err != nil || report.Changed != c.changes {
			t.Fatalf("%s: changed: %t, %v", c.cfg.Mode, report.Changed, err)
		}
		isInstalled(choice.Rules)

		choice = kernel.Choice{Backend: compatible, Rules: compatible.Form(plan.Rules)}
		if _, err := kernel.Install(t.Context(), ns, choice, plan.Routing); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: iptables' form: got %v", c.cfg.Mode, err)
		}
		isInstalled(native.Form(plan.Rules))
	}
	if report, err := kernel.Remove(t.Context(), ns, kernel.Choice{Backend: native}); err != nil || !report.Changed {
		t.Errorf("removing: changed: %t, %v", report.Changed, err)
	}
	isInstalled(iptables.Ruleset{})
}
