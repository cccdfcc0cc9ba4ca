// Package runtime tests the CNI plugin: with the library that container runtimes call
// plugins with, and with containerd itself, whose pods are started as a kubelet starts them.
//
// It is its own module, so that the library and the interface of runtimes do not become
// dependencies of meshtables. "make test" runs it with the others.
package runtime
