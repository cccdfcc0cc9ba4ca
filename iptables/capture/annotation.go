package capture

// Prefix starts the annotations of a pod that are this program's own.
const Prefix = "meshtables.github.io/"

// Annotations for the options of these names, which no mesh has.
const (
	ExcludedUIDs       = Prefix + "excluded-uids"
	RedirectVirtualDNS = Prefix + "redirect-virtual-dns"
)

// SandboxedPod is the annotation that says whether a pod has a sandbox with a network stack of its
// own: "true" or "false". Somebody who sees the pod's runtime class writes it, such as a policy of
// admission: the plugin does not see the class.
const SandboxedPod = Prefix + "sandboxed"
