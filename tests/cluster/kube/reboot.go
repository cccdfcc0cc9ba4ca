package kube

import (
	"context"
	"path/filepath"
)

// Down ends all that a node loses when it is turned off: the runtime, the kubelet, every
// container, network namespaces, rules and /run. The disk stays, and so does the control
// plane, as if it were elsewhere.
func (c *Cluster) Down(ctx context.Context) error {
	for _, name := range []string{kubelet, kubeProxy} {
		if err := c.StopProgram(ctx, name); err != nil {
			return err
		}
	}
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return c.shell(ctx, turnOff, c.Folder, filepath.Join(c.Folder, "state"))
}

// Up turns the node on again.
func (c *Cluster) Up(ctx context.Context) error {
	if err := c.Start(ctx); err != nil {
		return err
	}
	for _, name := range []string{kubelet, kubeProxy} {
		if err := c.StartProgram(name); err != nil {
			return err
		}
	}
	return nil
}

// turnOff kills everything but the first process, this shell and the control plane, whose
// process ids are in files, and unmounts what is not on a disk.
const turnOff = `
keep=" 1 $$ $(cat "$1"/etcd.pid "$1"/kube-apiserver.pid "$1"/kube-controller-manager.pid "$1"/kube-scheduler.pid | tr '\n' ' ') "
for round in 1 2 3; do
	for process in /proc/[0-9]*; do
		pid=${process#/proc/}
		case "$keep" in *" $pid "*) ;; *) kill -KILL "$pid" 2>/dev/null || true ;; esac
	done
	sleep 0.2
done
awk '{print $2}' /proc/self/mounts | grep -e ^/run/ -e "^$2/" -e "^$1/kubelet/" | sort -r | while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
# It fails if anything is still mounted.
rm -rf /run/* "$2"
mkdir -p /run/netns
for link in $(ls /sys/class/net); do
	case "$link" in lo|uplink|outside) ;; *) ip link delete "$link" 2>/dev/null || true ;; esac
done
nft flush ruleset
`
