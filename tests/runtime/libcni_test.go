package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/lab"
)

// first is what the first plugin of a chain returns.
const first = `{"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/x"}],
	"ips": [{"interface": 0, "address": "10.244.1.7/24", "gateway": "10.244.1.1"}, {"interface": 0, "address": "fd00:10:244::7/64"}],
	"routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}], "dns": {"nameservers": ["10.96.0.10"]}}`

// chain calls a chain of two plugins as a runtime does: a first one, which makes nothing
// because the lab has made it, and the program, in the network namespace of a node.
type chain struct {
	version.PluginDecoder
	t    *testing.T
	lab  *lab.Lab
	rt   *libcni.RuntimeConf
	list *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
	// plugins is the folder in which the program has to be, unless it is empty.
	plugins string
	// log is what the program printed to stderr since it was last read.
	log bytes.Buffer
}

var _ invoke.Exec = (*chain)(nil)

// newChain makes a pod for a chain of a version of the specification.
func newChain(t *testing.T, of string, annotations map[string]string) *chain {
	t.Helper()
	if err := lab.Available(); err != nil {
		missing(t, err.Error())
	}
	l, err := lab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &chain{t: t, lab: l}
	c.cni = libcni.NewCNIConfigWithCacheDir([]string{"/plugins"}, t.TempDir(), c)
	text := fmt.Sprintf(`{"cniVersion": %q, "name": "pods", "plugins": [{"type": "first"}, %s]}`, of, entry)
	if c.list, err = libcni.ConfListFromBytes([]byte(text)); err != nil {
		t.Fatal(err)
	}
	c.rt = &libcni.RuntimeConf{
		ContainerID: "c0ffee", NetNS: l.Pod.File(), IfName: "eth0",
		Args:           [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "shop"}, {"K8S_POD_NAME", "cart"}},
		CapabilityArgs: map[string]any{"io.kubernetes.cri.pod-annotations": annotations},
	}
	return c
}

// FindInPath implements [invoke.Exec].
func (c *chain) FindInPath(plugin string, _ []string) (string, error) {
	if c.plugins == "" || plugin == "first" {
		return plugin, nil
	}
	return invoke.FindInPath(plugin, []string{c.plugins})
}

// ExecPlugin implements [invoke.Exec].
func (c *chain) ExecPlugin(ctx context.Context, plugin string, stdin []byte, environ []string) ([]byte, error) {
	if plugin == "first" {
		return c.first(stdin, environ)
	}
	var stdout bytes.Buffer
	path := program
	if c.plugins != "" {
		path = plugin
	}
	err := c.lab.Peer.Run(ctx, lab.Command{
		Path: path, Env: append(environ, "PATH="+os.Getenv("PATH")), Stdin: bytes.NewReader(stdin), Stdout: &stdout, Stderr: &c.log,
	})
	if err != nil {
		object := &types.Error{}
		if json.Unmarshal(stdout.Bytes(), object) == nil {
			return nil, object
		}
	}
	return stdout.Bytes(), err
}

// first is the first plugin.
func (c *chain) first(stdin []byte, environ []string) ([]byte, error) {
	var conf types.PluginConf
	if len(stdin) > 0 {
		if err := json.Unmarshal(stdin, &conf); err != nil {
			return nil, err
		}
	}
	for _, variable := range environ {
		switch variable {
		case "CNI_COMMAND=VERSION":
			var text bytes.Buffer
			err := version.All.Encode(&text)
			return text.Bytes(), err
		case "CNI_COMMAND=ADD":
			return firstResult(conf.CNIVersion)
		}
	}
	return nil, nil
}

func firstResult(of string) ([]byte, error) {
	result, err := version.NewResult("1.1.0", []byte(first))
	if err == nil {
		result, err = result.GetAsVersion(of)
	}
	var text bytes.Buffer
	if err == nil {
		err = result.PrintTo(&text)
	}
	return text.Bytes(), err
}

// wantLog checks that the program has said something, and forgets what it has said.
func (c *chain) wantLog(want string) {
	c.t.Helper()
	if !strings.Contains(c.log.String(), want) {
		c.t.Errorf("%q is missing from\n%s", want, &c.log)
	}
	c.log.Reset()
}

// Every command does its work in every version of the specification that has it. ADD returns
// what the first plugin returned, in the version asked for.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, of := range version.All.SupportedVersions() {
		t.Run(of, func(t *testing.T) {
			t.Parallel()
			c, ctx := newChain(t, of, injected()), t.Context()
			if _, err := c.cni.ValidateNetworkList(ctx, c.list); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"result=applied", "result=unchanged"} {
				result, err := c.cni.AddNetworkList(ctx, c.list, c.rt)
				if err != nil {
					t.Fatal(err)
				}
				c.wantLog(want)
				wantResult(t, of, result)
			}
			if atLeast(t, of, "0.4.0") {
				if err := c.cni.CheckNetworkList(ctx, c.list, c.rt); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			if atLeast(t, of, "1.1.0") {
				if err := c.cni.GetStatusNetworkList(ctx, c.list); err != nil {
					t.Errorf("STATUS: %v", err)
				}
				valid := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: c.rt.ContainerID, IfName: c.rt.IfName}}}
				if err := c.cni.GCNetworkList(ctx, c.list, valid); err != nil {
					t.Errorf("GC: %v", err)
				}
				c.wantLog("GC: nothing to do")
			}
			for range 2 {
				if err := c.cni.DelNetworkList(ctx, c.list, c.rt); err != nil {
					t.Errorf("DEL: %v", err)
				}
			}
		})
	}
}

// wantResult checks that a result is that of the first plugin, in a version.
func wantResult(t *testing.T, of string, result types.Result) {
	t.Helper()
	text, err := firstResult(of)
	if err != nil {
		t.Fatal(err)
	}
	want, err := version.NewResult(of, text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Errorf("first (-), chain (+):\n%s", diff)
	}
}

func atLeast(t *testing.T, of, least string) bool {
	t.Helper()
	yes, err := version.GreaterThanOrEqualTo(of, least)
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

// What runtimes show of a failure says what is wrong.
func TestErrors(t *testing.T) {
	t.Parallel()
	c, ctx := newChain(t, "1.1.0", injected("traffic.sidecar.istio.io/includeInboundPorts", "80,http")), t.Context()
	_, err := c.cni.AddNetworkList(ctx, c.list, c.rt)
	const want = `plugin type="meshtables" failed (add): annotation traffic.sidecar.istio.io/includeInboundPorts "80,http": must be * or ports such as 80 or 8000-8010`
	var object *types.Error
	if !errors.As(err, &object) || object.Code != 100 || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	c.rt.CapabilityArgs["io.kubernetes.cri.pod-annotations"] = injected()
	if _, err := c.cni.AddNetworkList(ctx, c.list, c.rt); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.lab.Pod.Run(ctx, lab.Command{Path: program, Args: []string{"--cleanup-only"}, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	err = c.cni.CheckNetworkList(ctx, c.list, c.rt)
	if !errors.As(err, &object) || object.Code != 103 || !strings.Contains(object.Details, "nat ISTIO_INBOUND + ") {
		t.Errorf("CHECK without rules: %v", err)
	}
	c.rt.NetNS = "/run/netns/none"
	if _, err := c.cni.AddNetworkList(ctx, c.list, c.rt); !errors.As(err, &object) || object.Code != types.ErrInvalidNetNS {
		t.Errorf("without a namespace: %v", err)
	}
	if err := c.cni.DelNetworkList(ctx, c.list, c.rt); err != nil {
		t.Errorf("DEL without a namespace: %v", err)
	}
}

// Without what the rules take, nothing is left, and the error says what is missing.
func TestWithoutPrivilege(t *testing.T) {
	t.Parallel()
	c := newChain(t, "1.1.0", injected())
	var out bytes.Buffer
	run := func(command string) *types.Error {
		conf, err := libcni.InjectConf(c.list.Plugins[1], map[string]any{
			"name": "pods", "cniVersion": "1.1.0", "prevResult": json.RawMessage(first),
			"runtimeConfig": c.rt.CapabilityArgs,
		})
		if err != nil {
			t.Fatal(err)
		}
		out.Reset()
		_ = c.lab.Peer.Run(t.Context(), lab.Command{
			// What enters the pod's namespace is there, what changes its rules is not.
			Path: "setpriv", Args: []string{"--bounding-set=-net_admin", "--inh-caps=-net_admin", program},
			Env:   []string{"PATH=" + os.Getenv("PATH"), "CNI_COMMAND=" + command, "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_PATH=/", "CNI_NETNS=" + c.rt.NetNS},
			Stdin: bytes.NewReader(conf.Bytes), Stdout: &out, Stderr: &c.log,
		})
		var object types.Error
		if err := json.Unmarshal(out.Bytes(), &object); err != nil {
			t.Fatalf("%s: %v: %s", command, err, &out)
		}
		return &object
	}
	for command, code := range map[string]uint{"ADD": 102, "STATUS": types.ErrPluginNotAvailable} {
		object := run(command)
		if object.Code != code || !strings.Contains(object.Msg, "the capability NET_ADMIN is missing") || object.Details != "run with the capability NET_ADMIN" {
			t.Errorf("%s: %+v", command, object)
		}
	}
}
