package routes

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// A kernel without policy routing is told of with the option that needs none, if there
// is one.
func TestNoPolicyRouting(t *testing.T) {
	t.Parallel()
	const kernel = "hint: the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES)"
	for without, want := range map[string]string{"": kernel, "--mode=REDIRECT": kernel + "; --mode=REDIRECT needs none"} {
		wanted, err := objects(iptables.Routing{Mark: 7, Table: 8, Families: []iptables.Family{iptables.IPv4}, Without: without})
		if err != nil {
			t.Fatal(err)
		}
		rule := wanted[len(wanted)-1]
		if got := describe(Change{Add, rule}, unix.EOPNOTSUPP).Error(); !strings.HasSuffix(got, "\n"+want) {
			t.Errorf("%q: got %s", without, got)
		}
	}
}
