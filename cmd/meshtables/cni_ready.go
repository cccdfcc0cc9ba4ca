package main

import (
	"bufio"
	"fmt"
	"net"
	"time"

	"github.com/meshtables/meshtables/iptables/cni/install"
)

// probeTime limits a probe, and so how many are open at once.
const probeTime = 5 * time.Second

// answerProbes answers readiness probes until end is called: whether the plugin is in place
// at that moment. Any HTTP request is one. The package net/http would make the program, which
// runs once for every pod, larger by a third.
func (c *command) answerProbes(node *install.Node) (end func(), err error) {
	listener, err := net.Listen("tcp", c.readyAddress)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.line.flags.Given("ready-address"), err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// One after the other: probes are rare.
			answerProbe(conn, node)
		}
	}()
	return func() { _ = listener.Close() }, nil
}

// answerProbe answers one request; whoever does not send one has to try again.
func answerProbe(conn net.Conn, node *install.Node) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(probeTime)) != nil {
		return
	}
	request := bufio.NewReaderSize(conn, 4096)
	for {
		line, err := request.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) <= len("\r\n") {
			break
		}
	}
	status, text := "200 OK", "in place"
	if err := node.Check(); err != nil {
		status, text = "503 Service Unavailable", err.Error()
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, len(text)+1, text)
}
