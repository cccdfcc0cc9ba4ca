package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// conversation is a long-lived connection with an application.
type conversation struct {
	net.Conn
	reader *bufio.Reader
	said   int
}

// converse opens a conversation. It is over when ctx is done.
func (c caller) converse(ctx context.Context, to netip.AddrPort) (*conversation, error) {
	conn, err := c.from.Dial(ctx, "tcp", c.Client, to)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	talk := &conversation{Conn: conn, reader: bufio.NewReader(conn)}
	if err := talk.begin(to); err != nil {
		conn.Close()
		return nil, err
	}
	return talk, nil
}

func (t *conversation) begin(to netip.AddrPort) error {
	if err := t.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t, "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", to)
	if err != nil {
		return err
	}
	response, err := http.ReadResponse(t.reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return statusError(response.StatusCode)
	}
	return nil
}

// exchange says something and waits to hear it back.
func (t *conversation) exchange() error {
	if err := t.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	t.said++
	line := fmt.Sprintf("this is line %d\n", t.said)
	if _, err := io.WriteString(t, line); err != nil {
		return err
	}
	heard, err := t.reader.ReadString('\n')
	if err == nil && heard != line {
		err = fmt.Errorf("said %q, heard %q", line, heard)
	}
	return err
}
