package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/soak"
)

// capturingLinkerd are options of Linkerd's sidecars that capture what those of capturing do.
func capturingLinkerd() [][]string {
	all := [][]string{
		{},
		{"--inbound-ports-to-ignore=1000,1001", "--outbound-ports-to-ignore=1000,1001"},
		{"-r", "8080", "-r", "9090", "--subnets-to-ignore=198.51.100.0/24,2001:db8:51::/48"},
		{"-u", "2102,2200", "-g", "2103"},
	}
	for i := range all {
		all[i] = append(all[i], "--mesh=linkerd")
	}
	return all
}

// betweenMeshes are options of both meshes.
func betweenMeshes() [][][]string {
	return [][][]string{capturingLinkerd(), capturing()[:3], capturingAmbient()[:2]}
}

// While options of Linkerd's change, and while it takes the place of Istio's sidecars and of
// ambient mode and they take its, every new connection is captured by either mesh, none fails,
// and those that are open go on.
func TestNoGapInLinkerd(t *testing.T) {
	t.Parallel()
	overNetlink, programs := soak.Times(40, 300), soak.Times(10, 60)
	forEachBackend(t, func(t *testing.T, backend string) {
		changeOptions(t, betweenDataplanes(t, backend, betweenMeshes()...), overNetlink, programs)
	})
}

// Nor is there a gap however often the program is killed meanwhile.
func TestNoGapInLinkerdWhenKilled(t *testing.T) {
	t.Parallel()
	noGapWhenKilled(t, soak.Times(25, 500), betweenMeshes()...)
}
