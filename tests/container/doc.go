// Package container holds the tests of what runs in a cluster: the manifests of
// deploy/, and the image, run as these manifests say by a container runtime.
//
// It is a module of its own, so that the types of Kubernetes and what they bring
// are no dependencies of meshtables. "make test" runs it with the others.
package container
