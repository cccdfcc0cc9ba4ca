package tests

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// TestScripts runs the files of testdata/script, one for each behaviour of the
// command line. Each has a lab of its own and two commands beside testscript's:
//
//	pod PROGRAM ARGS...   runs a program in the pod, meshtables among them
//	status N              checks the exit status of the last one
func TestScripts(t *testing.T) {
	t.Parallel()
	if err := lab.Available(); err != nil {
		missing(t, err.Error())
	}
	documented := readSchema(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			l, err := lab.New(t.Context())
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			env.Values[scriptKey{}] = &scriptRun{lab: l, documented: documented}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"pod":    runInPod,
			"status": checkStatus,
		},
	})
}

type scriptKey struct{}

// scriptRun is the state of one script.
type scriptRun struct {
	lab *lab.Lab
	// documented is what answers in JSON have to be like.
	documented *schema
	status     int
}

func scriptOf(ts *testscript.TestScript) *scriptRun {
	return ts.Value(scriptKey{}).(*scriptRun)
}

func runInPod(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: pod program [args...]; status checks its exit status")
	}
	run := scriptOf(ts)
	var stdout bytes.Buffer
	err := run.lab.Pod.Run(context.Background(), lab.Command{
		Path: "env",
		Args: args,
		Env: []string{
			"PATH=" + filepath.Dir(built.Program()) + ":" + os.Getenv("PATH"),
			"WORK=" + ts.Getenv("WORK"),
		},
		Stdout: io.MultiWriter(ts.Stdout(), &stdout),
		Stderr: ts.Stderr(),
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	run.status = 0
	if exit != nil {
		run.status = exit.ExitCode()
	}
	if heading := answerOf(args); heading != "" && stdout.Len() > 0 {
		ts.Check(run.documented.checkAnswer(heading, stdout.Bytes()))
	}
}

func checkStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: status N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := scriptOf(ts).status; got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
