// Package container tests what runs in a cluster: the manifests of deploy/, and the
// image, which a container runtime runs as these manifests say.
//
// It is its own module, so that the types of Kubernetes do not become dependencies of
// meshtables. "make test" runs it with the others.
package container
