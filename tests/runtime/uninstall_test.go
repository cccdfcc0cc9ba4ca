package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/meshtables/meshtables/tests/lab"
)

// A runtime such as CRI-O ends a pod with the chain that it was started with, from the cache.
// The program is there until the last such pod has ended; where it is not, the pod cannot be
// ended.
func TestUninstall(t *testing.T) {
	t.Parallel()
	c := newChain(t, "1.0.0", injected())
	c.plugins = t.TempDir()
	networks, kept := t.TempDir(), t.TempDir()
	file := filepath.Join(networks, "10-pods.conflist")
	if err := os.WriteFile(file, []byte(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "first"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.cni = libcni.NewCNIConfigWithCacheDir([]string{c.plugins}, kept, c)
	run := func(want string, words ...string) {
		t.Helper()
		var out bytes.Buffer
		err := c.lab.Peer.Run(t.Context(), lab.Command{
			Path: program, Args: append(append([]string{"cni"}, words...), "--plugin-folder="+c.plugins, "--network-folder="+networks, "--cni-cache="+kept),
			Env: os.Environ(), Stdout: &out, Stderr: &out,
		})
		if err != nil || !strings.HasPrefix(out.String(), want+"\n") {
			t.Fatalf("%q: %v\n%s", words, err, &out)
		}
	}
	// start starts the pod with the network as it is now.
	start := func() {
		t.Helper()
		var err error
		if c.list, err = libcni.ConfListFromFile(file); err != nil {
			t.Fatal(err)
		}
		if _, err := c.cni.AddNetworkList(t.Context(), c.list, c.rt); err != nil {
			t.Fatal(err)
		}
	}
	// end ends the pod with what the cache has, as ocicni does (TearDownPodWithContext).
	end := func() error {
		t.Helper()
		text, rt, err := c.cni.GetNetworkListCachedConfig(&libcni.NetworkConfigList{Name: "pods"}, c.rt)
		if err != nil {
			t.Fatal(err)
		}
		list, err := libcni.ConfListFromBytes(text)
		if err != nil {
			t.Fatal(err)
		}
		return c.cni.DelNetworkList(t.Context(), list, rt)
	}

	run("installed", "install")
	start()
	run("program kept\n  network  "+file+"\n  pods     1 must be deleted before the program can go; then run this again", "uninstall")
	run("program kept\n  pods     1 must be deleted before the program can go; then run this again", "uninstall")
	if err := end(); err != nil {
		t.Error(err)
	}
	run("uninstalled\n  program  "+filepath.Join(c.plugins, "meshtables"), "uninstall")
	// A pod that starts now does not need it.
	start()
	if err := end(); err != nil {
		t.Error(err)
	}

	run("installed", "install")
	start()
	run("uninstalled", "uninstall", "--force")
	if err := end(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("failed to find plugin %q in path", "meshtables")) {
		t.Errorf("without the program: %v", err)
	}
	// Putting it back mends that.
	run("installed", "install")
	run("program kept", "uninstall")
	if err := end(); err != nil {
		t.Error(err)
	}
	run("uninstalled", "uninstall")
}
