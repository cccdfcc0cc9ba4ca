package tests

import (
	"strconv"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/soak"
)

// TestAmbientWritersAgree is TestWritersAgree for made-up arguments of ambient mode.
func TestAmbientWritersAgree(t *testing.T) {
	t.Parallel()
	const workers = 4
	configurations := soak.Times(24, 1000)
	for worker := range workers {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			programs, netlink, sets := newPod(t, "iptables"), newPod(t, "iptables-nft"), newPod(t, native)
			for number := worker; number < configurations && !t.Failed(); number += workers {
				args := newArguments(agreementSeed, uint64(number)).generateAmbient()
				agree(t, programs, netlink, args)
				apply(t, sets, args...)
				meshtables(t, sets, append([]string{"verify", "--backend=" + native}, args...)...)
				if t.Failed() {
					t.Logf("configuration %d: %s", number, strings.Join(args, " "))
				}
			}
		})
	}
}
