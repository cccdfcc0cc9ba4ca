package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/version"
)

// result returns the result of the plugins before, as it came. If it is of another version
// of the specification than the configuration, it is converted.
func (c *configuration) result() ([]byte, error) {
	if len(c.previous) == 0 || string(c.previous) == "null" {
		return nil, failed(codeConfiguration, errors.New("prevResult: is missing\n"+
			"hint: this plugin has to come after the one that makes the pod's interface, in the plugins of one conflist"))
	}
	var head struct{ CNIVersion string }
	if err := json.Unmarshal(c.previous, &head); err != nil {
		return nil, failed(codeConfiguration, fmt.Errorf("prevResult: must be a result: %w", err))
	}
	if head.CNIVersion == "" || head.CNIVersion == c.version {
		return c.previous, nil
	}
	result, err := version.NewResult(head.CNIVersion, c.previous)
	if err == nil {
		result, err = result.GetAsVersion(c.version)
	}
	var text bytes.Buffer
	if err == nil {
		err = result.PrintTo(&text)
	}
	if err != nil {
		return nil, failed(codeConfiguration, fmt.Errorf("prevResult: must be a result of version %s or one that can be converted: %w", c.version, err))
	}
	return text.Bytes(), nil
}
