package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// configuration is containerd's. Two settings are for machines on which tests run: copying
// instead of overlays, and leaving alone what only a real root may lower.
const configuration = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[2]s.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[3]s"
    conf_dir = "%[4]s"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`

// startTimeout is far more than containerd takes on a busy machine.
const startTimeout = time.Minute

// Start starts the runtime and waits until it answers.
func (n *Node) Start(ctx context.Context) error {
	file := n.path("containerd.toml")
	text := fmt.Sprintf(configuration, n.Folder, n.Socket(), n.Plugins(), n.Configurations())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	log, err := os.OpenFile(n.Log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	n.runtime = n.Daemon("containerd", "containerd", "--config", file)
	n.runtime.Stdout, n.runtime.Stderr = log, log
	if err := n.runtime.Start(); err != nil {
		return err
	}
	if n.conn == nil {
		if n.conn, err = grpc.NewClient("unix://"+n.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			return err
		}
	}
	return n.await(ctx)
}

// await waits until the runtime answers.
func (n *Node) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		_, err := n.Client().Version(ctx, &cri.VersionRequest{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(n.Log())
			return fmt.Errorf("containerd does not answer: %w\n%s", err, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop kills the runtime. Its pods go on.
func (n *Node) Stop(ctx context.Context) error {
	err := n.Signal(ctx, "containerd", "KILL")
	_ = n.runtime.Wait()
	n.runtime = nil
	return err
}

// Client speaks to the runtime as a kubelet does.
func (n *Node) Client() cri.RuntimeServiceClient { return cri.NewRuntimeServiceClient(n.conn) }

// Ready waits until the runtime says that its network is ready: it has read its chain of
// plugins.
func (n *Node) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		status, err := n.Client().Status(ctx, &cri.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range status.GetStatus().GetConditions() {
			if c.GetType() == cri.NetworkReady && c.GetStatus() {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("the network is not ready: " + strings.Join(n.logged("cni"), ""))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
