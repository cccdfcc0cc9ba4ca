package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// caller is somebody who makes connections.
type caller struct {
	from *lab.Namespace
	lab.Client
	// resolver finds the addresses of names; nil for those who call none.
	resolver *net.Resolver
}

// callTimeout bounds a request. Nothing in a story waits for it.
const callTimeout = time.Minute

// application is the application of a pod as a client of others.
func (p *pod) application() caller {
	return caller{from: p.Namespace, Client: lab.Client{Socket: appUser}, resolver: p.resolver()}
}

// kubelet is the prober on the node.
func (m *mesh) kubelet() caller { return caller{from: m.Host} }

// dial is what a request of the caller is made over.
func (c caller) dial(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		if to, err = c.resolve(ctx, address); err != nil {
			return nil, err
		}
	}
	return c.from.Dial(ctx, "tcp", c.Client, to)
}

// resolve returns the IPv4 address of a name, with the port behind it.
func (c caller) resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	// With a dot at its end a name is looked up as it is, whatever domains this
	// machine searches.
	addrs, err := c.resolver.LookupNetIP(ctx, "ip4", host+".")
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(net.JoinHostPort(addrs[0].Unmap().String(), port))
}

// get makes a request over a connection of its own. Any status but 200 is an
// error.
func (c caller) get(ctx context.Context, url string) ([]byte, error) {
	client := http.Client{
		Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true},
		Timeout:   callTimeout,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = statusError(response.StatusCode)
	}
	return body, err
}

// statusError is an answer other than 200.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("answered with status %d", int(s)) }

// call asks an application who it is.
func (c caller) call(ctx context.Context, host string) (reply, error) {
	body, err := c.get(ctx, "http://"+host+"/")
	if err != nil {
		return reply{}, err
	}
	var r reply
	return r, json.Unmarshal(body, &r)
}
