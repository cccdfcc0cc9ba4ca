package tests

import (
	"encoding/json"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"
)

var (
	metricName = regexp.MustCompile(`\bmeshtables_\w+`)
	metricType = regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`)
)

// The program takes the arguments of the DaemonSet, and finds what it needs where that mounts it.
func TestAuditManifest(t *testing.T) {
	t.Parallel()
	var daemonSet struct {
		Spec struct {
			Template struct {
				Spec struct {
					HostPID, HostNetwork bool
					Containers           []struct {
						Args         []string
						VolumeMounts []struct {
							MountPath string `yaml:"mountPath"`
						} `yaml:"volumeMounts"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readDocument(t, "../deploy/audit/daemonset.yaml")), &daemonSet); err != nil {
		t.Fatal(err)
	}
	container := daemonSet.Spec.Template.Spec.Containers[0]
	if out, err := executable(t, append(container.Args, "--help")...).CombinedOutput(); err != nil {
		t.Errorf("%q: %v\n%s", container.Args, err, out)
	}
	help, err := executable(t, "audit", "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	mounted := make(map[string]bool)
	for _, m := range container.VolumeMounts {
		mounted[m.MountPath] = true
	}
	for _, folder := range defaultFolder.FindAllStringSubmatch(string(help), -1) {
		if !mounted[folder[1]] {
			t.Errorf("%s is not mounted", folder[1])
		}
	}
}

// defaultFolder is the default of an option, as help shows it.
var defaultFolder = regexp.MustCompile(`\(default "?(/[\w./]+)`)

// dashboardExpressions returns the expressions of the dashboard's panels.
func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readDocument(t, "../deploy/audit/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	if len(all) == 0 {
		t.Error("the dashboard has no panels")
	}
	return all
}
