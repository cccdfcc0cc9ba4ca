package sysctl_test

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/sysctl"
)

const forwarding = "net.ipv4.ip_forward"

func changesOf(t *testing.T, ns *namespace.Namespace, name, value string) []sysctl.Change {
	t.Helper()
	changes, _, err := sysctl.Diff(ns, []iptables.Sysctl{{Name: name, Value: value, Option: "--option"}})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// A setting is made in the namespace it is for, and can be undone.
func TestChange(t *testing.T) {
	nstest.Enter(t)
	here := nstest.Here(t)
	there, err := namespace.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	for _, ns := range []*namespace.Namespace{here, there} {
		if err := changesOf(t, ns, forwarding, "7")[0].Apply(ns); err != nil {
			t.Fatal(err)
		}
	}
	change := changesOf(t, there, forwarding, "1")
	if len(change) != 1 || change[0].String() != "sysctl -w net.ipv4.ip_forward=1" {
		t.Fatalf("got %v", change)
	}
	if err := change[0].Apply(there); err != nil {
		t.Fatal(err)
	}
	if again := changesOf(t, there, forwarding, "1"); again != nil {
		t.Errorf("after the change: %v", again)
	}
	if other := changesOf(t, here, forwarding, "7"); other != nil {
		t.Errorf("the other namespace has changed: %v", other)
	}
	if err := change[0].Undo(there); err != nil {
		t.Fatal(err)
	}
	if back := changesOf(t, there, forwarding, "7"); back != nil {
		t.Errorf("after undoing: %v", back)
	}
}

// What a namespace does not have differs, and cannot be set.
func TestMissing(t *testing.T) {
	nstest.Enter(t)
	ns := nstest.Here(t)
	err := changesOf(t, ns, "net.netfilter.no_such_setting", "1")[0].Apply(ns)
	if err == nil || !strings.HasPrefix(err.Error(), "--option: failed to set net.netfilter.no_such_setting: the network namespace has no such setting\nhint: conntrack ") {
		t.Errorf("got %v", err)
	}
}

// What is only advised is told apart, and messages about it name no option.
func TestAdvised(t *testing.T) {
	nstest.Enter(t)
	ns := nstest.Here(t)
	advised := []iptables.Sysctl{
		{Name: forwarding, Value: "8", Without: "packets stay here"},
		{Name: "net.ipv4.no_such_setting", Value: "1", Without: "nothing works"},
	}
	needed, changes, err := sysctl.Diff(ns, advised)
	if err != nil || needed != nil || len(changes) != 2 {
		t.Fatalf("got %v, %v, %v", needed, changes, err)
	}
	if err := changes[0].Apply(ns); err != nil {
		t.Error(err)
	}
	if err := changes[1].Apply(ns); err == nil || !strings.HasPrefix(err.Error(), "failed to set net.ipv4.no_such_setting: ") {
		t.Errorf("got %v", err)
	}
	if _, after, err := sysctl.Diff(ns, advised); err != nil || len(after) != 1 {
		t.Errorf("after the change: %v, %v", after, err)
	}
}
