package config

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// Settings are below annotations and above defaults.
func TestSettings(t *testing.T) {
	t.Parallel()
	_, flags, p := newFlags()
	err := flags.AddSettings("options", []byte(`{"outbound-port": 7, "mode": "TPROXY", "drop-invalid": true, "excluded-ports": [1, "2-3"], "included-ports": []}`))
	if err != nil {
		t.Fatal(err)
	}
	r := flags.Read(Sources{
		PodAnnotations: map[string]string{"sidecar.istio.io/interceptionMode": "REDIRECT"},
		Implied: map[string]Given{
			"mode":         {ByAnnotation, "not this", "x"},
			"drop-invalid": {ByAnnotation, "implied", "false"},
		},
	})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if p.outboundPort != 7 || p.mode != "REDIRECT" || p.dropInvalid || p.included.All || len(p.excluded) != 2 || p.excluded[1] != (iptables.PortRange{First: 2, Last: 3}) {
		t.Errorf("got %+v", p)
	}
	if got, want := r.Given("outbound-port"), (Given{BySetting, "options.outbound-port", "7"}); got != want {
		t.Errorf("got %v", got)
	}
	if g, ok := r.Setting("mode"); !ok || g.Text != "TPROXY" {
		t.Errorf("got %v, %t", g, ok)
	}
}

func TestSettingsErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[]`:                                 `options: must be an object of options with their values, such as {"mode": "TPROXY"}`,
		`{"mode": {"a": 1}}`:                 `options.mode: must be a value or a list of values`,
		`{"mode": null}`:                     `options.mode: must be a value or a list of values`,
		`{"excluded-ports": ["1,2"]}`:        `options.excluded-ports: must be a value or a list of values`,
		`{"exclude-ports": 1}`:               `options.exclude-ports "1": there is no such option; did you mean excluded-ports?`,
		`{"envoy-port": 1}`:                  `options.envoy-port "1": here its name is outbound-port`,
		`{"dual-stack": true}`:               `options.dual-stack "true": here give it as ipv6: on`,
		`{"banana": 1, "outbound-port":"x"}`: `options.banana "1": there is no such option` + "\nhint: these are outbound-port, inbound-port, mode, ",
		`{"outbound-port": "x"}`:             `options.outbound-port "x": must be one port, from 1 to 65535`,
	} {
		_, flags, _ := newFlags()
		err := flags.AddSettings("options", []byte(text))
		if err == nil {
			err = flags.Read(Sources{}).Err()
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}
