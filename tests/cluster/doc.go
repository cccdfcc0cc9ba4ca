// Package cluster tests the program on a whole Kubernetes, by kubectl: the CNI plugin, and what
// is in deploy/ as it is written. "make cluster" builds what it needs.
package cluster
