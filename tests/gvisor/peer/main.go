// Command peer is both ends of the connections of these tests.
//
//	peer serve PORT...   says at each port which it is to whoever connects
//	peer ask ADDRESS     prints who answers
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	run := ask
	if os.Args[1] == "serve" {
		run = serve
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func serve(ports []string) error {
	failed := make(chan error)
	for _, port := range ports {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				fmt.Fprintln(c, "port", port)
				c.Close()
			}
		}()
	}
	return <-failed
}

// patience is how long there may be no server yet.
const patience = 10 * time.Second

func ask(addresses []string) error {
	deadline := time.Now().Add(patience)
	c, err := net.DialTimeout("tcp", addresses[0], patience)
	for err != nil && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		c, err = net.DialTimeout("tcp", addresses[0], patience)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}
