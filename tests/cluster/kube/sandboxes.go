package kube

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/meshtables/meshtables/tests/runtime/node"
)

// sandboxes returns the pods that run, by the runtime, whose names begin with a prefix.
func (c *Cluster) sandboxes(ctx context.Context, prefix string) ([]*cri.PodSandbox, error) {
	answer, err := c.Client().ListPodSandbox(ctx, &cri.ListPodSandboxRequest{
		Filter: &cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY}},
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(answer.GetItems(), func(s *cri.PodSandbox) bool {
		return !strings.HasPrefix(s.GetMetadata().GetName(), prefix)
	}), nil
}

// EndSandboxes ends some pods behind the kubelet's back, and returns which.
func (c *Cluster) EndSandboxes(ctx context.Context, prefix string, n int) (ended []string, err error) {
	all, err := c.sandboxes(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for _, s := range all[:min(n, len(all))] {
		if _, err := c.Client().StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
			return ended, err
		}
		ended = append(ended, s.GetId())
	}
	return ended, nil
}

// AwaitSandboxes waits until so many pods run, none of which has ended before.
func (c *Cluster) AwaitSandboxes(ctx context.Context, prefix string, n int, ended []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		all, err := c.sandboxes(ctx, prefix)
		if err != nil {
			return err
		}
		old := slices.ContainsFunc(all, func(s *cri.PodSandbox) bool { return slices.Contains(ended, s.GetId()) })
		if len(all) == n && !old {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d pods run, want %d\n%s", len(all), n, c.Logs())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// NetworkFiles returns the files of the network namespaces of pods that run, by their names,
// for programs of the node. Pods that use the node's have none.
func (c *Cluster) NetworkFiles(ctx context.Context, prefix string) (map[string]string, error) {
	all, err := c.sandboxes(ctx, prefix)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, s := range all {
		file, err := c.NetworkFile(ctx, s.GetId())
		if errors.Is(err, node.ErrHostNetwork) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[s.GetMetadata().GetName()] = file
	}
	return files, nil
}

// StartWorkload serves at an address of the node, as a machine outside of the cluster.
func (c *Cluster) StartWorkload(ctx context.Context, program, address string) error {
	cmd := c.Daemon("outside", program, "outside", address)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return nil
}
