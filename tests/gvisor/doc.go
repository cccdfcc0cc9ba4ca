// Package gvisor runs the program in gVisor, and pods of gVisor on a node. It builds runsc from a
// Go module, once, and keeps it in the user's cache folder.
package gvisor
