package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Variables that Istio, its users and Kubernetes set for other purposes are no misspelt
// options.
func TestMisspeltVariables(t *testing.T) {
	t.Parallel()
	line := newCommandLine(verbs()[0], choice{dataplane: ofSidecars})
	if got := line.misspelt(strings.Fields(`
		ISTIO_META_CLUSTER_ID=Kubernetes ISTIO_META_DNS_CAPTURES=true ISTIO_META_DNS_AUTO_ALLOCATE=true
		ISTIO_META_INTERCEPTION_MODE=REDIRECT ISTIO_META_APP_CONTAINERS=app ISTIO_META_POD_PORTS=[]
		ISTIO_AGENT_FLAGS=x ISTIO_AGENT_ENABLE_WASM=1 ISTIO_CPU_LIMIT=2 ISTIO_KUBE_APP_PROBERS={}
		ISTIO_PROMETHEUS_ANNOTATIONS={} ISTIO_BOOTSTRAP=x ISTIO_BOOTSTRAP_OVERRIDE=x ISTIO_DELTA_XDS=true
		ISTIO_SERVICE=app ISTIO_NAMESPACE=default ISTIO_SYSTEM_NAMESPACE=istio-system ISTIO_SVC_IP=10.0.0.1
		ISTIO_PILOT_PORT=15012 ISTIO_CP_AUTH=x ISTIO_BIN_BASE=/usr/local/bin ISTIO_CFG=/var/lib/istio
		ISTIO_LOG_DIR=/var/log ISTIO_VERSION=1.24.0 ISTIO_MULTIROOT_MESH=true ISTIO_GPRC_MAXRECVMSGSIZE=1
		ISTIO_WORKLOAD_ENTRY_VALIDATE_IDENTITY=true ISTIO_ENABLE_HTTP2_PROBING=true
		ISTIO_INGRESSGATEWAY_SERVICE_HOST=10.0.0.1 ISTIO_INGRESSGATEWAY_PORT=tcp://10.0.0.1:80
		ISTIO_INGRESSGATEWAY_PORT_80_TCP_ADDR=10.0.0.1 ISTIO_INBOUND_PORT=tcp://10.0.0.1:80 ISTIO_INBOUND_SERVICE_PORT=80
		MESHTABLES_SERVICE_HOST=10.0.0.1 MESHTABLES_PORT=tcp://10.0.0.1:80 MESHTABLES_SOAK=1 MESHTABLES_VERSION=1
		ENVOY_UID=1337 PROXY_CONFIG={} PROXY_UIDS=1 KUBERNETES_PORT=tcp://10.96.0.1:443 DRY_RUNS=1
	`)); got != nil {
		t.Errorf("got %q", got)
	}
	got := line.misspelt([]string{"MESHTABLES_NETWORK_NAMESPCE=1", "ISTIO_SERVICE_EXCLUDE_CIDRS=10.0.0.0/8", "ISTIO_INBOUND_PORT=80"})
	if diff := cmp.Diff([]string{
		"environment variable ISTIO_INBOUND_PORT \"80\" has no effect\nhint: did you mean ISTIO_INBOUND_PORTS?",
		"environment variable ISTIO_SERVICE_EXCLUDE_CIDRS \"10.0.0.0/8\" has no effect\nhint: did you mean ISTIO_SERVICE_EXCLUDE_CIDR?",
		"environment variable MESHTABLES_NETWORK_NAMESPCE \"1\" has no effect\nhint: did you mean MESHTABLES_NETWORK_NAMESPACE?",
	}, got); diff != "" {
		t.Error(diff)
	}
}
