package cache

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Plugins returns the types of the plugins that were called for the pod. A runtime may end the
// pod with the same ones, whatever the node's networks are by then (GetNetworkListCachedConfig
// in libcni/api.go).
func (a *Attachment) Plugins() ([]string, error) {
	var text []byte
	if err := json.Unmarshal(a.config, &text); err != nil || len(text) == 0 {
		return nil, errors.New("config: must be the configuration of a network in base64")
	}
	// It is that of a list or of a single plugin, read by these names, whatever their case.
	var network struct {
		Type    string
		Plugins []struct{ Type string }
	}
	if err := json.Unmarshal(text, &network); err != nil {
		return nil, fmt.Errorf("config: must be the configuration of a network: %w", err)
	}
	types := []string{network.Type}
	for _, plugin := range network.Plugins {
		types = append(types, plugin.Type)
	}
	return types, nil
}
