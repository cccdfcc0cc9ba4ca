package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables/cni"
	"github.com/meshtables/meshtables/iptables/cni/cache"
)

// DropInFile is the name of the file of [ModeDropIn], in a folder beside the network's file that
// has the network's name (NetworkPluginConfsFromFiles in libcni/conf.go). Plugins come in the
// order of the names, so this one is the last.
const DropInFile = "99-meshtables.conf"

// DropIn returns the file for a network in a folder of networks. It is not ok if the name cannot be
// that of a folder: libcni takes it as a path.
func DropIn(networks, network string) (file string, ok bool) {
	ok = network != "" && filepath.Base(network) == network && !strings.HasPrefix(network, ".")
	return filepath.Join(networks, network, DropInFile), ok
}

func (n *Node) dropInFile(c *chain) string {
	file, _ := DropIn(n.Networks, c.name)
	return file
}

// bootID is what the kernel says, another number since every start (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

// token is what the plugin leaves if it is run by the drop-in of a network. Whether the runtime
// reads it is not known again after a reboot: another may be installed.
func token(network string) (string, error) {
	text, err := os.ReadFile(bootID)
	if err != nil {
		return "", err
	}
	return network + " " + strings.TrimSpace(string(text)), nil
}

// addDropIn adds the network's drop-in, and the entry until the runtime has read the drop-in for
// a pod.
func (p *placing) addDropIn(c *chain) error {
	if _, ok := DropIn(p.Networks, c.name); !ok {
		return fmt.Errorf("%s: the network's name %q cannot be that of a folder\nhint: install with the mode %s", c.file, c.name, ModeEntry)
	}
	why, err := p.unread(c)
	if err != nil {
		return err
	}
	if why != "" {
		p.done.Unread = why
		if err := p.addEntry(c.file); err != nil {
			return err
		}
		// It may have become a list.
		if c.file, err = p.network(); err != nil {
			return err
		}
	}
	written, err := p.writeDropIn(c)
	if err != nil || why != "" {
		return err
	}
	if written {
		time.Sleep(settled)
	}
	return p.removeEntry(c.file)
}

// writeDropIn writes the drop-in, if it is not there as it should be. Mending, it leaves the one
// of another version alone that the plugin can answer to.
func (p *placing) writeDropIn(c *chain) (written bool, err error) {
	e, file := p.entry, p.dropInFile(c)
	if e.DropIn, err = token(c.name); err != nil {
		return false, err
	}
	text := e.text("\n") + "\n"
	if there, err := os.ReadFile(file); err == nil {
		if sameJSON(string(there), text) || p.mending && strings.Contains(string(there), jsonText(e.DropIn, "")) {
			return false, nil
		}
	}
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	if err := writeTo(c.file, file, text); err != nil {
		return false, err
	}
	p.changed(file)
	return true, nil
}

// markFile is where the plugin leaves its mark.
func (n *Node) markFile() string { return filepath.Join(n.Plugins, cni.MarkFile) }

// slack is how long after the plugin a pod's entry may get into libcni's cache: that is written
// when the last plugin has returned.
const slack = 10 * time.Second

// unread returns why it is not known that the runtime reads drop-ins of a network, or "" if it
// has shown that. libcni's cache does not tell: what it keeps of a network is its file alone
// (cacheAdd in libcni/api.go). So the plugin leaves a mark when a drop-in runs it. As every pod
// that starts gets an entry in the cache, one that is younger than the mark was started without.
func (n *Node) unread(c *chain) (string, error) {
	if _, ok := c.asSingle(); ok || c.single {
		return "the network has one plugin and no list", nil
	}
	if c.inlined {
		return "loadOnlyInlinedPlugins is true", nil
	}
	want, err := token(c.name)
	if err != nil {
		return "", err
	}
	started := cache.Newest(n.Cache, c.name)
	mark := n.markFile()
	text, err := os.ReadFile(mark)
	if err == nil && string(text) == want {
		info, err := os.Stat(mark)
		if err == nil && started.After(info.ModTime().Add(slack)) {
			return "a pod has started without it, so the runtime does not read it any more", nil
		}
		return "", err
	}
	if info, err := os.Stat(n.dropInFile(c)); err == nil && started.After(info.ModTime().Add(slack)) {
		return "a pod has started without it: libcni reads drop-ins since 1.3", nil
	}
	return "no pod has started with it yet", nil
}

// checkDropIn returns an error if a pod that starts now would not be captured.
func (n *Node) checkDropIn(c *chain) error {
	if c.has() {
		return nil
	}
	why, err := n.unread(c)
	if err != nil {
		return err
	}
	if why != "" {
		return fmt.Errorf("%s: there is no entry of %s, and %s: %s", c.file, PluginName, n.dropInFile(c), why)
	}
	_, err = os.Stat(n.dropInFile(c))
	return err
}
