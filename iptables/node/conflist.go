package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/cni"
	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/cni/install"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/files"
)

// Settings returns the plugin's entry in the node's networks: the first, as runtimes read them
// by name, in the network's file or in its folder. It is nil if there is none.
func (n *Node) Settings(policies capture.Policies) (*cni.Settings, error) {
	names, err := files.Names(n.Networks, cache.MaxEntries)
	if err != nil {
		return nil, fmt.Errorf("failed to read the node's networks: %w", err)
	}
	for _, name := range names {
		if filepath.Ext(name) != ".conflist" {
			continue
		}
		path := filepath.Join(n.Networks, name)
		entry, err := n.entryIn(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if entry == nil {
			continue
		}
		settings, err := cni.ReadSettings(policies, entry)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return settings, nil
	}
	return nil, nil
}

// entryIn returns the plugin's entry in a conflist or, if there is none, in a file of the network's
// folder; nil if there is neither.
func (n *Node) entryIn(path string) ([]byte, error) {
	text, err := readSmall(path)
	if err != nil || text == nil {
		return nil, err
	}
	// All are read by these names, whatever their case.
	var list struct {
		Name    string
		Plugins []json.RawMessage
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("must be the configuration of a network: %w", err)
	}
	for _, plugin := range list.Plugins {
		var head struct{ Type string }
		if json.Unmarshal(plugin, &head) == nil && head.Type == install.PluginName {
			return plugin, nil
		}
	}
	file, ok := install.DropIn(n.Networks, list.Name)
	if !ok {
		return nil, nil
	}
	return readSmall(file)
}

// readSmall returns the text of a file, nil if there is none.
func readSmall(path string) ([]byte, error) {
	text, err := host.File{Path: path}.Read(cache.MaxEntry)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, files.Reason(err)
}
