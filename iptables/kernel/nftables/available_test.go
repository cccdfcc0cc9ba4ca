package nftables

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"golang.org/x/sys/unix"
)

// Available names what is missing, and asking leaves nothing behind.
func TestAvailable(t *testing.T) {
	nstest.Enter(t)
	unchanged(t, func() {
		for _, family := range iptables.Families() {
			var rs iptables.Ruleset
			for _, name := range []string{iptables.Nat, iptables.Mangle, iptables.Raw} {
				rs.Tables = append(rs.Tables, everyForm(family, name))
			}
			if err := New(nstest.Here(t), owned).Available(t.Context(), rs); err != nil {
				t.Error(err)
			}
		}
	})
	for name, tt := range map[string]struct {
		// without says that the kernel has no nf_tables either.
		without bool
		errno   unix.Errno
		want    string
	}{
		"no nf_tables": {true, unix.EINVAL, "the kernel has no nf_tables"},
		"no extension": {false, unix.ENOENT, "no target REDIRECT (revision 0)"},
		"no compat":    {false, unix.EINVAL, "xt_tcpudp"},
		"refused":      {false, unix.EPERM, "NET_ADMIN"},
	} {
		b := faultyBackend(faulty{onSend: func(request []byte) []byte {
			if kindOf(request) == compatGet || tt.without && kindOf(request) == netlink.NFTables(unix.NFT_MSG_GETGEN) {
				return refusals(request, tt.errno)
			}
			return nil
		}})
		if err := b.Available(t.Context(), sidecarRules(t)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// Neither the package nor those inside it run a program.
func TestNoPrograms(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imported := range file.Imports {
			if path, _ := strconv.Unquote(imported.Path.Value); path == "os/exec" || path == "syscall" {
				t.Errorf("%s imports %s", name, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
