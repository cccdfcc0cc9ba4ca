package container

import "testing"

// The image keeps the node's side with what the manifest gives it, which is one capability.
func TestHostInImage(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.folders = map[string]string{"/var/lib/cni": t.TempDir()}
	pod := pluginPod(t, "host")
	checkMounts(t, &pod.Spec)
	run := func(status int, want string, args ...string) {
		t.Helper()
		c := pod.Spec.Containers[0]
		c.Args = append([]string{"host"}, args...)
		expect(t, n.run(t, &pod, c), status, want)
	}
	run(3, "different (iptables-nft)\n", "--verify")
	run(0, "applied: ", "--pods=10.244.1.7")
	run(0, "as wanted (iptables-nft)\n", "--verify", "--pods=10.244.1.7")
	run(0, "removed\n", "--cleanup-only")
}

// The Pod Security Standards have nothing against it but what its work is.
func TestHostSecurity(t *testing.T) {
	t.Parallel()
	pod := pluginPod(t, "host")
	want := []string{
		`host namespaces: hostNetwork=true`,
		`probe or lifecycle host: container "meshtables-host" uses probe or lifecycle host "127.0.0.1"`,
		`restricted volume types: volume "cache" uses restricted volume type "hostPath"`,
		`runAsNonRoot != true: container "meshtables-host" must not set securityContext.runAsNonRoot=false`,
		`runAsUser=0: container "meshtables-host" must not set runAsUser=0`,
		`seLinuxOptions: container "meshtables-host" set forbidden securityContext.seLinuxOptions: type "spc_t"`,
		`unrestricted capabilities: container "meshtables-host" must not include "NET_ADMIN" in securityContext.capabilities.add`,
	}
	wantViolations(t, &pod, want...)
}
