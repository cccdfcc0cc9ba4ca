package userns_test

import (
	"testing"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/userns"
)

func TestOwnerIsOurs(t *testing.T) {
	nstest.Enter(t)
	if owner, err := userns.Owner(); err != nil || !userns.IsOf(userns.Thread, owner) {
		t.Errorf("the network namespace that we made is of %v, %v, not of our user namespace", owner, err)
	}
}

func TestOwnerIsAnother(t *testing.T) {
	nstest.EnterShifted(t)
	if owner, err := userns.Owner(); err != nil || owner == nil || userns.IsOf(userns.Thread, owner) {
		t.Errorf("the network namespace of another user namespace is of %v, %v", owner, err)
	}
}
