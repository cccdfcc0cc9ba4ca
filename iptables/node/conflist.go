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

// Settings returns the plugin's entry in the node's conflists: the first, as runtimes read them
// by name. It is nil if there is none.
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
		entry, err := entryIn(path)
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

// entryIn returns the plugin's entry in a conflist, or nil.
func entryIn(path string) ([]byte, error) {
	text, err := host.File{Path: path}.Read(cache.MaxEntry)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, files.Reason(err)
	}
	// Both are read by these names, whatever their case.
	var list struct{ Plugins []json.RawMessage }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("must be the configuration of a network: %w", err)
	}
	for _, plugin := range list.Plugins {
		var head struct{ Type string }
		if json.Unmarshal(plugin, &head) == nil && head.Type == install.PluginName {
			return plugin, nil
		}
	}
	return nil, nil
}
