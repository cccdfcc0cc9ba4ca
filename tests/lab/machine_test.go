package lab

import (
	"errors"
	"os"
	"testing"

	"github.com/vishvananda/netns"
)

// However it came about, a namespace that is the machine's own is not entered.
func TestMachineIsRefused(t *testing.T) {
	t.Parallel()
	n, err := newNamespace(t.Context(), "machine")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	machine, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	own := n.handle
	n.handle = machine
	defer func() {
		machine.Close()
		n.handle = own
		n.Close()
	}()
	reached := func() error { t.Error("the function ran"); return nil }
	if err := n.Do(reached); !errors.Is(err, errMachine) {
		t.Errorf("Do returned %v, want %v", err, errMachine)
	}
	if err := n.As(Identity{UID: 1337}, reached); !errors.Is(err, errMachine) {
		t.Errorf("As returned %v, want %v", err, errMachine)
	}
	if err := n.ServeTCP("server", Socket{}, Loopback.Port(IPv4, 15001)); !errors.Is(err, errMachine) {
		t.Errorf("ServeTCP returned %v, want %v", err, errMachine)
	}
	if err := n.Run(t.Context(), Command{Path: "true"}); !errors.Is(err, errMachine) {
		t.Errorf("Run returned %v, want %v", err, errMachine)
	}
}
