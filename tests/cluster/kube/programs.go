package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// The programs.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	kubelet           = "kubelet"
	kubeProxy         = "kube-proxy"
)

// arguments are those of each program, beside what their files say.
func (c *Cluster) arguments(name string) []string {
	kubeconfig := "--kubeconfig=" + c.path("kubeconfig")
	switch name {
	case etcd:
		return []string{"--data-dir=" + c.path("etcd"), "--log-level=warn"}
	case apiServer:
		return []string{
			"--etcd-servers=http://127.0.0.1:2379", "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
			"--cert-dir=" + c.path("certificates"), "--advertise-address=" + nodeAddress, "--token-auth-file=" + c.path("tokens"),
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + c.path("key"),
			"--service-account-signing-key-file=" + c.path("key"), "--kubelet-preferred-address-types=InternalIP", "--allow-privileged",
		}
	case controllerManager:
		return []string{
			kubeconfig, "--leader-elect=false", "--service-account-private-key-file=" + c.path("key"),
			"--root-ca-file=" + c.path("certificates/apiserver.crt"), "--controllers=*,-node-ipam-controller",
		}
	case scheduler:
		return []string{kubeconfig, "--leader-elect=false"}
	case kubelet:
		return []string{
			kubeconfig, "--config=" + c.path("kubelet.yaml"), "--root-dir=" + c.path("kubelet"),
			"--node-ip=" + nodeAddress + "," + nodeAddress6, "--hostname-override=" + nodeName,
		}
	case kubeProxy:
		// A network namespace may not change conntrack's size.
		return []string{kubeconfig, "--hostname-override=" + nodeName, "--proxy-mode=nftables", "--conntrack-max-per-core=0"}
	}
	return nil
}

// StartProgram starts a program of Kubernetes, or etcd. Its log has its name.
func (c *Cluster) StartProgram(name string) error {
	log, err := os.OpenFile(c.path(name+".log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.Daemon(name, filepath.Join(c.programs, name), c.arguments(name)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.running[name] = cmd
	return nil
}

// StopProgram kills a program.
func (c *Cluster) StopProgram(ctx context.Context, name string) error {
	if err := c.Signal(ctx, name, "KILL"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_ = c.running[name].Wait()
	delete(c.running, name)
	return nil
}

// StopAPIServer kills the API server; StartAPIServer starts it again, and waits for it.
func (c *Cluster) StopAPIServer(ctx context.Context) error { return c.StopProgram(ctx, apiServer) }

func (c *Cluster) StartAPIServer(ctx context.Context) error {
	if err := c.StartProgram(apiServer); err != nil {
		return err
	}
	return c.await(ctx, "the API server", "get", "--raw", "/readyz")
}
