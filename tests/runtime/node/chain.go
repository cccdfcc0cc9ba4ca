package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ChainFile is the name of the configuration of a node's network.
const ChainFile = "10-pods.conflist"

// Chain returns the configuration of a network of pods of both families, with more plugins at
// its end, each as JSON.
func (n *Node) Chain(more ...string) string {
	plugins := append([]string{fmt.Sprintf(`{
      "type": "ptp",
      "ipam": {
        "type": "host-local",
        "dataDir": %q,
        "ranges": [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:10:244:3::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
      }
    }`, n.path("addresses"))}, more...)
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    %s
  ]
}
`, strings.Join(plugins, ",\n    "))
}

// Use writes the configuration and waits until the runtime uses it.
func (n *Node) Use(ctx context.Context, text string) error {
	if err := n.WriteChain(text); err != nil {
		return err
	}
	return n.AwaitChain(ctx, func(used string) bool { return used == text })
}

// AwaitChain waits until the runtime uses a configuration like that.
func (n *Node) AwaitChain(ctx context.Context, like func(text string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		status, err := n.Client().Status(ctx, &cri.StatusRequest{Verbose: true})
		if err != nil {
			return err
		}
		var used struct {
			Networks []struct{ Config struct{ Source string } }
		}
		text := status.GetInfo()["cniconfig"]
		if err := json.Unmarshal([]byte(text), &used); err != nil {
			return err
		}
		for _, network := range used.Networks {
			// The runtime lists its loopback network first.
			if strings.Contains(network.Config.Source, `"pods"`) && like(network.Config.Source) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the runtime uses %s", text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// WriteChain writes the configuration at once, as plugins should that write theirs.
func (n *Node) WriteChain(text string) error {
	file := filepath.Join(n.Configurations(), ChainFile)
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// UsedAddresses returns the addresses that are in use, as host-local has stored them: a file
// for each.
func (n *Node) UsedAddresses() []string {
	var used []string
	files, _ := filepath.Glob(n.path("addresses") + "/pods/*")
	for _, file := range files {
		if a := filepath.Base(file); strings.ContainsAny(a, ".:") && !strings.HasPrefix(a, "last_") {
			used = append(used, a)
		}
	}
	return used
}
