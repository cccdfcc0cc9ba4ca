package cluster

import (
	"os/exec"
	"testing"

	"github.com/meshtables/meshtables/tests/runtime/node"
)

// collect copies the files of packages of this machine's distribution into a folder.
const collect = `
dpkg -L iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0 libnfnetlink0 libnetfilter-conntrack3 libc6 |
	grep -v -e /share/doc -e /share/man | sort -u |
	while read -r file; do if [ ! -d "$file" ]; then echo "$file"; fi; done |
	tar --no-recursion -cf - -T - 2>/dev/null | tar -xf - -C "$1"
`

// imageOfPrograms is what deploy/Dockerfile makes with the target "programs": there is no
// engine here to build it with.
func imageOfPrograms(t *testing.T) node.Image {
	t.Helper()
	root := t.TempDir()
	if out, err := exec.Command("sh", "-euc", collect, "sh", root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return node.Image{
		Name: programsImage + ":" + imageTag,
		Files: map[string]string{
			"/usr": root + "/usr", "/lib": root + "/lib", "/lib64": root + "/lib64", "/usr/local/bin/meshtables": program,
		},
		Config: []string{"--config.entrypoint=/usr/local/bin/meshtables", "--config.env=PATH=/usr/local/bin:/usr/sbin:/usr/bin"},
	}
}
