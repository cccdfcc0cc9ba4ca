package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// extensions are those of the files that runtimes read (loadFromConfDir in go-cni of
// containerd, loadNetworks in ocicni of CRI-O). Only a conflist can have several plugins.
var extensions = []string{".conf", ".conflist", ".json"}

// ErrNoNetwork is wrapped by errors about a node that has no network yet.
var ErrNoNetwork = errors.New("there is no network configuration")

// networks returns the files of all networks, in the order in which runtimes read them: by
// name.
func (n *Node) networks() ([]string, error) {
	entries, err := os.ReadDir(n.Networks)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains(extensions, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(n.Networks, e.Name()))
		}
	}
	return files, nil
}

// network returns the network plugin's file of the network that the runtime uses.
func (n *Node) network() (string, error) {
	if n.Network != "" {
		return n.named()
	}
	files, err := n.networks()
	if err != nil {
		return "", err
	}
	files = slices.DeleteFunc(files, func(file string) bool { return filepath.Base(file) == OwnFile })
	if _, err := os.Stat(n.ownFile()); err == nil && len(files) == 0 {
		return "", fmt.Errorf("%w beside %s, which stays, so that no pod starts without the plugin\nhint: if this is meant, run: meshtables cni uninstall", ErrNoNetwork, n.ownFile())
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%w in %s\nhint: install the network plugin first, or use --watch, which waits for it", ErrNoNetwork, n.Networks)
	}
	return files[0], nil
}

// named returns the file of that name. If it was not a conflist, it has become one.
func (n *Node) named() (string, error) {
	file := filepath.Join(n.Networks, n.Network)
	for _, f := range []string{file, listFile(file)} {
		if _, err := os.Stat(f); err == nil {
			return f, nil
		}
	}
	return "", fmt.Errorf("%w %s", ErrNoNetwork, file)
}

// listFile returns the name of a file as a conflist.
func listFile(file string) string {
	return file[:len(file)-len(filepath.Ext(file))] + listExtension
}

const listExtension = ".conflist"
