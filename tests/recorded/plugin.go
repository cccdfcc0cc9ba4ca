package recorded

import "testing"

// PluginCase is one recorded run of the reference's CNI plugin: what it read of the pod, and
// the kernel's rules afterwards. README.md beside the data describes the fields.
type PluginCase struct {
	Case
	Annotations map[string]string `json:"annotations"`
	ProxyEnv    map[string]string `json:"proxy_env"`
	ProxyUID    *uint32           `json:"proxy_uid"`
	ProxyGID    *uint32           `json:"proxy_gid"`
	Refused     string            `json:"refused"`
}

// PluginCases returns all recorded runs of the plugin.
func PluginCases(t testing.TB) []PluginCase {
	t.Helper()
	return casesIn[PluginCase](t, "cni.jsonl")
}
