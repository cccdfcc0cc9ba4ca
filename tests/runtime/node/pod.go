package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/meshtables/meshtables/tests/lab"
)

// Pod is a pod that runs.
type Pod struct {
	Name string
	ID   string
	// Addresses are its addresses.
	Addresses []netip.Addr
	// NetworkFile is the file of its network namespace for this process, and OnNode for
	// processes of the node.
	NetworkFile, OnNode string

	node *Node
	conf *cri.PodSandboxConfig
}

// Spec is a pod to start.
type Spec struct {
	Namespace, Name string
	Annotations     map[string]string
	// Attempt counts the times that a pod of that name is started.
	Attempt uint32
}

// StartPod starts a pod without containers, as the kubelet starts one. The error is what the
// runtime says.
func (n *Node) StartPod(ctx context.Context, s Spec) (*Pod, error) {
	p := &Pod{Name: s.Name, node: n, conf: &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Namespace: s.Namespace, Name: s.Name, Uid: s.Namespace + "-" + s.Name, Attempt: s.Attempt},
		Annotations:  s.Annotations,
		LogDirectory: n.path("log"),
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: "/" + n.ControlGroup()},
	}}
	answer, err := n.Client().RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.conf})
	if err != nil {
		return nil, err
	}
	p.ID = answer.GetPodSandboxId()
	return p, p.look(ctx)
}

// look asks the runtime what it knows of the pod.
func (p *Pod) look(ctx context.Context) error {
	answer, err := p.node.Client().PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.ID, Verbose: true})
	if err != nil {
		return err
	}
	network := answer.GetStatus().GetNetwork()
	all := []string{network.GetIp()}
	for _, more := range network.GetAdditionalIps() {
		all = append(all, more.GetIp())
	}
	for _, text := range all {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
		p.Addresses = append(p.Addresses, a)
	}
	if p.OnNode, err = networkFile(answer); err != nil {
		return err
	}
	p.NetworkFile = p.node.File(p.OnNode)
	return nil
}

// networkFile returns the file of a pod's network namespace, for processes of the node, from
// what the runtime says of the pod.
func networkFile(answer *cri.PodSandboxStatusResponse) (string, error) {
	var info struct {
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct{ Type, Path string }
			}
		}
	}
	if err := json.Unmarshal([]byte(answer.GetInfo()["info"]), &info); err != nil {
		return "", err
	}
	for _, ns := range info.RuntimeSpec.Linux.Namespaces {
		if ns.Type == "network" {
			// /var/run is a link, which would lead to the /run of this process.
			return strings.TrimPrefix(ns.Path, "/var"), nil
		}
	}
	return "", ErrHostNetwork
}

// ErrHostNetwork says that a pod uses the network of its node.
var ErrHostNetwork = errors.New("the runtime does not name a network namespace of the pod")

// NetworkFile returns the file of the network namespace of a pod of any origin, for processes
// of the node.
func (n *Node) NetworkFile(ctx context.Context, id string) (string, error) {
	answer, err := n.Client().PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		return "", err
	}
	return networkFile(answer)
}

// Join returns the pod's network namespace, to run servers and clients in.
func (p *Pod) Join(ctx context.Context) (*lab.Namespace, error) {
	return lab.Join(ctx, p.Name, p.NetworkFile)
}

// Address returns the pod's address of a family.
func (p *Pod) Address(f lab.Family) netip.Addr {
	for _, a := range p.Addresses {
		if a.Is4() == (f == lab.IPv4) {
			return a
		}
	}
	return netip.Addr{}
}

// RunApplication starts the pod's container.
func (p *Pod) RunApplication(ctx context.Context) error {
	client := p.node.Client()
	made, err := client.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId:  p.ID,
		SandboxConfig: p.conf,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "application"},
			Image:    &cri.ImageSpec{Image: ApplicationImage},
			LogPath:  p.Name + ".log",
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return err
	}
	_, err = client.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.GetContainerId()})
	return err
}

// Remove ends the pod and removes it.
func (p *Pod) Remove(ctx context.Context) error { return p.node.RemovePod(ctx, p.ID) }

// RemovePod ends a pod and removes it.
func (n *Node) RemovePod(ctx context.Context, id string) error {
	if _, err := n.Client().StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err := n.Client().RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

// RemovePods removes all pods but those.
func (n *Node) RemovePods(ctx context.Context, but ...string) error {
	answer, err := n.Client().ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var errs []error
	for _, pod := range answer.GetItems() {
		if !slices.Contains(but, pod.GetId()) {
			errs = append(errs, n.RemovePod(ctx, pod.GetId()))
		}
	}
	return errors.Join(errs...)
}
