// Package kube makes a cluster of one node for tests: etcd, the programs of Kubernetes and a
// container runtime, as they are. The node is that of package node, so everything goes with
// the test's process.
package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/meshtables/meshtables/tests/runtime/node"
)

// Cluster is a cluster that runs. The programs of its control plane are on its only node.
type Cluster struct {
	*node.Node
	// programs is the folder of the programs.
	programs string
	// running are those that run, by name.
	running map[string]*exec.Cmd
}

// Programs are those that have to be in the folder.
func Programs() []string {
	return []string{etcd, apiServer, controllerManager, scheduler, kubelet, kubeProxy, "kubectl"}
}

// The node's own addresses, on an uplink that leads nowhere.
const (
	nodeName     = "node"
	nodeAddress  = "192.168.7.2"
	nodeAddress6 = "fd00:7::2"
)

// New makes a cluster in an empty folder with a short name. The images are on its node.
func New(ctx context.Context, folder, programs string, images ...node.Image) (*Cluster, error) {
	n, err := node.New(ctx, folder)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Node: n, programs: programs, running: make(map[string]*exec.Cmd)}
	if err := c.build(ctx, images); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to make a cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) build(ctx context.Context, images []node.Image) error {
	if err := c.shell(ctx, ownFolders, c.Plugins(), c.Configurations()); err != nil {
		return err
	}
	if err := c.shell(ctx, uplink); err != nil {
		return err
	}
	if err := c.writeFiles(); err != nil {
		return err
	}
	if err := c.WriteChain(c.Chain()); err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	if err := c.AddImages(ctx, images...); err != nil {
		return err
	}
	for _, name := range []string{etcd, apiServer, controllerManager, scheduler, kubelet, kubeProxy} {
		if err := c.StartProgram(name); err != nil {
			return err
		}
		if name == apiServer {
			if err := c.await(ctx, "the API server", "get", "--raw", "/readyz"); err != nil {
				return err
			}
		}
	}
	return c.await(ctx, "the node", "wait", "--for=condition=Ready", "node/"+nodeName, "--timeout=60s")
}

// ownFolders gives the node its own /etc and /opt, with the folders of CNI where the manifests
// expect them, and the node exporter's. The machine's stay as they are.
const ownFolders = `
mount -t tmpfs etc /mnt && cp -a /etc/. /mnt && mkdir -p /mnt/cni/net.d && mount --move /mnt /etc
mount --bind "$2" /etc/cni/net.d
mount -t tmpfs opt /opt && mkdir -p /opt/cni/bin
mount --bind "$1" /opt/cni/bin
mkdir -p /var/lib/node_exporter && mount -t tmpfs exporter /var/lib/node_exporter
mount --make-rshared /
`

// uplink gives the node addresses other than loopback's, and routes to everywhere.
const uplink = `
ip link add uplink type veth peer name outside
ip address add ` + nodeAddress + `/24 dev uplink
ip address add ` + nodeAddress6 + `/64 dev uplink nodad
ip link set uplink up
ip link set outside up
ip route add default via 192.168.7.1 dev uplink
ip -6 route add default via fd00:7::1 dev uplink
`

// shell runs a script on the node.
func (c *Cluster) shell(ctx context.Context, script string, args ...string) error {
	_, err := c.Run(ctx, "sh", append([]string{"-euc", script, "sh"}, args...)...)
	return err
}

// Kubectl runs kubectl and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"--kubeconfig", c.path("kubeconfig"), "--cache-dir", c.path("kubectl")}, args...)
	return c.Run(ctx, filepath.Join(c.programs, "kubectl"), all...)
}

// patience is far more than a program takes on a busy machine.
const patience = 2 * time.Minute

// await runs kubectl until it succeeds.
func (c *Cluster) await(ctx context.Context, what string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := c.Kubectl(ctx, args...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", what, err, c.Logs())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Logs returns the ends of what the programs have printed.
func (c *Cluster) Logs() string {
	var all strings.Builder
	for _, name := range Programs() {
		text, err := os.ReadFile(c.path(name + ".log"))
		if err == nil {
			fmt.Fprintf(&all, "%s:\n%s\n", name, text[max(0, len(text)-2000):])
		}
	}
	return all.String()
}

func (c *Cluster) path(name string) string { return filepath.Join(c.Folder, name) }
