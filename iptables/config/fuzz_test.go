package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzAnnotations reads an annotation file, writes it as Kubernetes does and
// reads it again.
func FuzzAnnotations(f *testing.F) {
	f.Add([]byte("traffic.sidecar.istio.io/excludeInboundPorts=\"80,90:99\"\n"))
	f.Add([]byte("a=\"b\"\nc\n\n=\"d\"\ne=f\ng=\"h\nf=\"\\q\"\na=\"b\"\nx y=\"z\"\nz=`z`\n"))
	f.Add([]byte("a=\"\\xff\\n\\\"\"\nb=\"\xff\"\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, errs := parseAnnotations(file)
		_, flags, _ := newFlags()
		if err := flags.Read(Sources{Annotations: file}).Err(); errs != nil && err == nil {
			t.Fatalf("errors are lost: %v", errs)
		}
		if errs != nil {
			return
		}
		var b strings.Builder
		for key, value := range a {
			fmt.Fprintf(&b, "%v=%q\n", key, value)
		}
		again, errs := parseAnnotations([]byte(b.String()))
		if errs != nil {
			t.Fatalf("%q: %v", b.String(), errs)
		}
		if diff := cmp.Diff(a, again); diff != "" {
			t.Errorf("annotations change (-first +second):\n%s", diff)
		}
	})
}
