package kube

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// token is that of the tests. The API server is reached on the node alone.
const token = "tests"

// kubeconfigText is everybody's.
const kubeconfigText = `apiVersion: v1
kind: Config
current-context: tests
contexts:
- {name: tests, context: {cluster: tests, user: tests}}
clusters:
- {name: tests, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}
users:
- {name: tests, user: {token: ` + token + `}}
`

// kubeletText is the kubelet's configuration. The pods share the machine with the tests: their
// control groups have no limits, and there may be swap.
const kubeletText = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupsPerQOS: false
cgroupRoot: /%s
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
localStorageCapacityIsolation: false
resolvConf: ""
containerRuntimeEndpoint: unix://%s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%%"}
maxPods: 200
syncFrequency: 5s
nodeStatusUpdateFrequency: 2s
crashLoopBackOff: {maxContainerRestartPeriod: 5s}
featureGates: {KubeletCrashLoopBackOffMax: true}
`

// writeFiles writes what the programs read.
func (c *Cluster) writeFiles() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	var errs []error
	for name, text := range map[string]string{
		"key": string(pemKey), "tokens": token + ",tests,tests,system:masters\n",
		"kubeconfig": kubeconfigText, "kubelet.yaml": fmt.Sprintf(kubeletText, c.ControlGroup(), c.Socket()),
	} {
		errs = append(errs, os.WriteFile(c.path(name), []byte(text), 0o600))
	}
	return errors.Join(errs...)
}
