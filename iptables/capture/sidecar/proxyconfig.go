package sidecar

import (
	"errors"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/meshtables/meshtables/iptables/config"
)

// proxyConfigAnnotation has the settings of a pod's proxy, in YAML or JSON
// (mesh/v1alpha1/proxy.proto in istio.io/api).
const proxyConfigAnnotation = "proxy.istio.io/config"

// disableVariable turns a proxy off (pilot/cmd/pilot-agent of Istio).
const disableVariable = "DISABLE_ENVOY"

// proxyConfig is what these settings say about capturing.
type proxyConfig struct {
	Mode       string
	StatusPort string
	// Metadata are variables of the proxy's containers. The injector gives them to istio-init
	// too.
	Metadata map[string]string
}

// parseProxyConfig reads the annotation, if there is one. It leaves other settings alone:
// there are many.
func parseProxyConfig(notes map[string]string) (p proxyConfig, err error) {
	text := notes[proxyConfigAnnotation]
	if text == "" {
		return p, nil
	}
	// Istio reads it as protobuf's JSON, which knows each field by two names.
	var fields struct {
		Mode        string            `yaml:"interceptionMode"`
		ModeToo     string            `yaml:"interception_mode"`
		Status      string            `yaml:"statusPort"`
		StatusToo   string            `yaml:"status_port"`
		Metadata    map[string]string `yaml:"proxyMetadata"`
		MetadataToo map[string]string `yaml:"proxy_metadata"`
	}
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		return p, given(proxyConfigAnnotation, config.Shorten(text)).Refuse(
			fmt.Errorf("must be YAML or JSON such as {proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}}: %w", oneLine(err)))
	}
	p = proxyConfig{Mode: fields.Mode, StatusPort: fields.Status, Metadata: fields.Metadata}
	if p.Mode == "" {
		p.Mode = fields.ModeToo
	}
	if p.StatusPort == "" {
		p.StatusPort = fields.StatusToo
	}
	if p.Metadata == nil {
		p.Metadata = fields.MetadataToo
	}
	return p, nil
}

// oneLine returns the first of an error's parts: the package yaml lists them below a title.
func oneLine(err error) error {
	var several *yaml.TypeError
	if errors.As(err, &several) && len(several.Errors) > 0 {
		return errors.New(several.Errors[0])
	}
	return err
}

// given is a setting as messages name it.
func (p *proxyConfig) given(setting, text string) config.Given {
	return given(proxyConfigAnnotation+", "+setting, text)
}

// mode returns what the pod says about its mode: by an annotation of its own, or else here.
func (p *proxyConfig) mode(notes map[string]string) config.Given {
	if text, ok := notes[modeAnnotation]; ok {
		return given(modeAnnotation, text)
	}
	return p.given("interceptionMode", p.Mode)
}

func (p *proxyConfig) isDisabled() bool {
	off, _ := strconv.ParseBool(p.Metadata[disableVariable])
	return off
}

// implied returns what the settings say about options. Variables count as in the
// environment of istio-init, where an empty one is not set; those that the injector's
// arguments override are left out.
func (p *proxyConfig) implied(o *Options) map[string]config.Given {
	all := make(map[string]config.Given)
	if p.Mode != "" {
		all["mode"] = p.given("interceptionMode", p.Mode)
	}
	if len(p.Metadata) == 0 {
		return all
	}
	for _, row := range o.Rows() {
		for _, name := range row.Env {
			if text := p.Metadata[name]; text != "" {
				all[row.Name] = p.given("proxyMetadata."+name, text)
			}
		}
	}
	return all
}
