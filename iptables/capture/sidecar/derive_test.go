package sidecar

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

func TestProxyUser(t *testing.T) {
	t.Parallel()
	known := usersMap{users: map[string]uint32{"istio-proxy": 42, "envoy": 101}}
	tests := map[string]struct {
		args     []string
		env      string
		users    config.Users
		uid, gid uint32
	}{
		"user exists":               {nil, "", known, 42, 42},
		"user does not exist":       {nil, "", usersMap{}, 1337, 1337},
		"named by ENVOY_USER":       {nil, "ENVOY_USER=envoy", known, 101, 101},
		"ENVOY_USER is empty":       {nil, "ENVOY_USER=", known, 42, 42},
		"only gid given":            {[]string{"-g", "7"}, "", known, 42, 7},
		"gid follows uid":           {[]string{"-u", "7"}, "", known, 7, 7},
		"uid overrules ENVOY_USER":  {[]string{"-u", "7"}, "ENVOY_USER=nobody", known, 7, 7},
		"empty uid leaves default":  {[]string{"-u", ""}, "", known, 42, 42},
		"uid by environment":        {nil, "PROXY_UID=envoy", known, 101, 101},
		"numbers need no user list": {[]string{"-u", "0"}, "", usersMap{}, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, err := read(t, test.args, config.Sources{Env: []string{test.env}, Users: test.users})
			wantConfig(t, c, err, with(func(c *Config) {
				c.ProxyUIDs, c.ProxyGIDs = []uint32{test.uid}, []uint32{test.gid}
			}))
		})
	}
}

func TestWithoutUsers(t *testing.T) {
	t.Parallel()
	_, flags := newFlags()
	c, _, err := flags.Config(config.Sources{})
	wantConfig(t, c, err, Default())
	_, _, err = flags.Config(config.Sources{Env: []string{"PROXY_UID=envoy", "PROXY_GID=mesh"}})
	if err == nil || strings.Count(err.Error(), "there is no list of users and groups") != 2 {
		t.Errorf("names without Users: error %v", err)
	}
}

func TestOwnPorts(t *testing.T) {
	t.Parallel()
	const (
		exclude = `traffic.sidecar.istio.io/excludeInboundPorts="22,80-81"` + "\n"
		none    = `traffic.sidecar.istio.io/excludeInboundPorts=""` + "\n"
		moved   = `status.sidecar.istio.io/port="9000"` + "\n"
		off     = `status.sidecar.istio.io/port="0"` + "\n"
	)
	tests := map[string]struct {
		args []string
		env  string
		file string
		want []iptables.PortRange
	}{
		"added":             {nil, "", exclude, portRanges(15020, 15020, 15021, 15021, 15090, 15090, 22, 22, 80, 81)},
		"added again":       {nil, "", `traffic.sidecar.istio.io/excludeInboundPorts="15021,22,15020"`, portRanges(15020, 15020, 15021, 15021, 15090, 15090, 22, 22)},
		"moved to another":  {nil, "", `status.sidecar.istio.io/port="15021"`, portRanges(15021, 15021, 15090, 15090)},
		"empty":             {nil, "", none, portRanges(15020, 15020, 15021, 15021, 15090, 15090)},
		"moved":             {nil, "", moved, portRanges(9000, 9000, 15021, 15021, 15090, 15090)},
		"added and moved":   {nil, "", exclude + moved, portRanges(9000, 9000, 15021, 15021, 15090, 15090, 22, 22, 80, 81)},
		"no status port":    {nil, "", off, portRanges(15021, 15021, 15090, 15090)},
		"flag replaces":     {[]string{"-d", "1"}, "", exclude + moved, portRanges(1, 1)},
		"empty flag":        {[]string{"-d", ""}, "", exclude + moved, nil},
		"variable replaces": {nil, "MESHTABLES_EXCLUDED_PORTS=2", exclude + off, portRanges(2, 2)},
		"bad status port that is overruled": {
			[]string{"-d", "1"}, "", `status.sidecar.istio.io/port="x"`, portRanges(1, 1),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, err := read(t, test.args, config.Sources{Env: []string{test.env}, Annotations: []byte(test.file)})
			wantConfig(t, c, err, with(func(c *Config) { c.ExcludedPorts = test.want }))
		})
	}
}

func TestDualStack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		env  string
		want IPv6
	}{
		"flag":                       {[]string{"--dual-stack"}, "", IPv6On},
		"false says nothing":         {[]string{"--dual-stack=false"}, "", IPv6Auto},
		"false and off":              {[]string{"--dual-stack=false", "--ipv6=off"}, "", IPv6Off},
		"false overrules variable":   {[]string{"--dual-stack=false"}, "ISTIO_DUAL_STACK=true", IPv6Auto},
		"same level, on":             {[]string{"--dual-stack", "--ipv6=on"}, "", IPv6On},
		"same level, auto":           {[]string{"--dual-stack", "--ipv6=auto"}, "", IPv6On},
		"flag before variable":       {[]string{"--dual-stack"}, "MESHTABLES_IPV6=off", IPv6On},
		"variable behind flag":       {[]string{"--ipv6=off"}, "DUAL_STACK=true", IPv6Off},
		"variable behind flag, auto": {[]string{"--ipv6=auto"}, "DUAL_STACK=true", IPv6Auto},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, err := read(t, test.args, config.Sources{Env: []string{test.env}})
			wantConfig(t, c, err, with(func(c *Config) { c.IPv6 = test.want }))
		})
	}
}
