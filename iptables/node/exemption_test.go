package node

import (
	"testing"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
)

// Who is exempt is what the rules say, by whatever option, and whatever else they leave alone.
func TestExemption(t *testing.T) {
	t.Parallel()
	type who struct{ uid, gid uint32 }
	for _, test := range []struct {
		name   string
		policy capture.Policy
		args   []string
		exempt []who
		others []who
		// always and ever are users that are exempt in every group, and only in some.
		always, ever []uint32
	}{
		{"the default", sidecar.Policy{}, nil, []who{{1337, 0}, {7, 1337}}, []who{{7, 7}, {0, 0}}, []uint32{1337}, []uint32{7}},
		{"some networks", sidecar.Policy{}, []string{"--included-cidrs=10.0.0.0/8", "--excluded-cidrs=10.1.0.0/16"},
			[]who{{1337, 0}}, []who{{7, 7}}, []uint32{1337}, []uint32{7}},
		{"some ports", sidecar.Policy{}, []string{"--included-cidrs=", "--included-outbound-ports=80"}, []who{{1337, 0}}, []who{{7, 7}}, []uint32{1337}, []uint32{7}},
		{"a range", sidecar.Policy{}, []string{"--excluded-uids=2000-2999"}, []who{{2500, 7}}, []who{{3000, 7}}, []uint32{2000, 2999}, []uint32{3000}},
		{"a port of a user's", sidecar.Policy{}, []string{"--excluded-uids=udp:53:2000"}, nil, []who{{2000, 7}}, nil, []uint32{2000}},
		{"a group", sidecar.Policy{}, []string{"--excluded-groups=2000"}, []who{{7, 2000}}, []who{{2000, 7}}, nil, []uint32{2000}},
		{"all groups but one", sidecar.Policy{}, []string{"--included-groups=2000"}, []who{{7, 7}, {1337, 2000}}, []who{{7, 2000}}, []uint32{1337}, []uint32{7}},
		{"Linkerd", linkerd.Policy{}, nil, []who{{2102, 7}}, []who{{7, 2102}}, []uint32{2102}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wanted, _, err := capture.Overlay(test.policy, test.args, config.Sources{})
			if err != nil {
				t.Fatal(err)
			}
			rules := kernel.InForm(installed.NFT, wanted.Plan(host.Host{}).Rules)
			e := exemptionOf(&rules)
			if e == nil {
				t.Fatal("the rules capture nothing")
			}
			for _, w := range test.exempt {
				if !e.has(w.uid, w.gid) {
					t.Errorf("%+v is captured", w)
				}
			}
			for _, w := range test.others {
				if e.has(w.uid, w.gid) {
					t.Errorf("%+v is exempt", w)
				}
			}
			for _, uid := range test.always {
				if always, ever := e.hasUser(uid); !always || !ever {
					t.Errorf("%d: always %t, ever %t", uid, always, ever)
				}
			}
			for _, uid := range test.ever {
				if always, _ := e.hasUser(uid); always {
					t.Errorf("%d is exempt in every group", uid)
				}
			}
		})
	}
}

// Rules that capture nothing that is sent exempt nobody from it.
func TestNoExemption(t *testing.T) {
	t.Parallel()
	wanted, _, err := capture.Overlay(sidecar.Policy{}, []string{"--included-cidrs="}, config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	rules := kernel.InForm(installed.NFT, wanted.Plan(host.Host{}).Rules)
	if e := exemptionOf(&rules); e != nil {
		t.Errorf("got %+v", e)
	}
}
