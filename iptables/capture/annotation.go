package capture

// Prefix starts the annotations of a pod that are this program's own.
const Prefix = "meshtables.github.io/"

// ExcludedUIDs is the annotation for the option of that name, which no mesh has.
const ExcludedUIDs = Prefix + "excluded-uids"

// SandboxedPod is the annotation that says whether a pod has a sandbox with a network stack of its
// own: "true" or "false". Somebody who sees the pod's runtime class writes it, such as a policy of
// admission: the plugin does not see the class.
const SandboxedPod = Prefix + "sandboxed"
