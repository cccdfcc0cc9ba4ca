package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// result is what a command printed, on both outputs, and how it ended.
type result struct {
	output string
	status int
}

// endOfStep is printed after each command, with its status.
var endOfStep = regexp.MustCompile("\x01(\\d+)\n")

// runSession runs the commands of a document by one shell, in a pod and in a folder
// that has the program, as a clone has after make build. Those of [operatingPage] run on a
// machine.
func runSession(t *testing.T, folder, path string, session []step) []result {
	t.Helper()
	useProgram(t, folder)
	var script strings.Builder
	fmt.Fprintf(&script, "exec 2>&1 </dev/null\ncd '%s'\n", folder)
	for _, s := range session {
		script.WriteString(s.command + "\nstatus=$?; printf '\\001%d\\n' $status; (exit $status)\n")
	}
	file := writeFile(t, "session.sh", script.String())
	var printed bytes.Buffer
	env := []string{"PATH=" + strings.Join([]string{clusterTools(t), filepath.Dir(built.Program()), os.Getenv("PATH")}, ":")}
	var err error
	if path == operatingPage {
		err = runOnMachine(t, file, env, &printed)
	} else {
		err = newPod(t, "iptables-nft").Pod.Run(t.Context(), lab.Command{Path: "sh", Args: []string{file}, Env: env, Stdout: &printed, Stderr: &printed})
	}
	ends := endOfStep.FindAllStringSubmatchIndex(printed.String(), -1)
	if len(ends) != len(session) {
		t.Fatalf("%d of %d commands were run: %v\n%s", len(ends), len(session), err, &printed)
	}
	results := make([]result, len(session))
	begin := 0
	for i, end := range ends {
		status, err := strconv.Atoi(printed.String()[end[2]:end[3]])
		if err != nil {
			t.Fatal(err)
		}
		results[i] = result{printed.String()[begin:end[0]], status}
		begin = end[1]
	}
	return results
}

// clusterTools returns a folder with programs that stand in for those of a cluster:
// kubectl runs the command of a container in this pod, crictl tells the number of a
// process in it, and skopeo is itself, but has a folder for the registry.
func clusterTools(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, script := range map[string]string{
		"kubectl": "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
		"crictl":  "#!/bin/sh\necho $PPID\n",
		"skopeo":  "#!/bin/sh\nPATH=${PATH#*:}\nfor arg; do shift; set -- \"$@\" \"$(echo \"$arg\" | sed s,^docker://registry.example/,oci:,)\"; done\nexec skopeo \"$@\"\n",
	} {
		writeProgram(t, filepath.Join(folder, name), []byte(script))
	}
	return folder
}
