package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// applicationPort is for HTTP, excludedPort too: an annotation leaves it alone. Whoever
// connects to plainPort is greeted.
const (
	applicationPort = 8080
	excludedPort    = 9090
	plainPort       = 7070
)

// serve answers with who answers, and whom it sees as the client: the proxy, if the connection
// was captured.
func serve() error {
	for _, port := range []int{applicationPort, excludedPort} {
		if err := serveAt(fmt.Sprintf(":%d", port)); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", plainPort))
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "hello %s\n", host(conn.RemoteAddr().String()))
			_ = conn.Close()
		}
	}()
	return nil
}

func serveAt(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	name, _ := os.Hostname()
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s sees %s\n", name, host(r.RemoteAddr))
		}))
	}()
	return nil
}

func host(address string) string {
	h, _, _ := net.SplitHostPort(address)
	return h
}

// ask prints what a server answers, as an application of this pod.
func ask(url string) error {
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// ready is an exec probe: it asks the application by loopback, which no rule captures.
func ready() error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", plainPort), 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err == nil && string(text) != "hello 127.0.0.1\n" {
		err = errors.New(string(text))
	}
	return err
}
