package userns_test

import (
	"os"
	"testing"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/userns"
)

// ownerHere is that of the calling thread's network namespace.
func ownerHere(t *testing.T) (os.FileInfo, error) {
	t.Helper()
	file, err := os.Open(userns.Thread + "/ns/net")
	if err == nil {
		defer file.Close()
	}
	return userns.OwnerOf(file, err)
}

func TestOwnerIsOurs(t *testing.T) {
	nstest.Enter(t)
	if owner, err := ownerHere(t); err != nil || !userns.IsOf(userns.Thread, owner) {
		t.Errorf("the network namespace that we made is of %v, %v, not of our user namespace", owner, err)
	}
}

func TestOwnerIsAnother(t *testing.T) {
	nstest.EnterShifted(t)
	if owner, err := ownerHere(t); err != nil || owner == nil || userns.IsOf(userns.Thread, owner) {
		t.Errorf("the network namespace of another user namespace is of %v, %v", owner, err)
	}
}
