package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout are the files of an OCI image layout.
type layout struct {
	files  map[string][]byte
	unused []string
}

func readLayout(t *testing.T, archive string) *layout {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l := &layout{files: make(map[string][]byte)}
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		if l.files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		l.unused = append(l.unused, h.Name)
	}
}

// decode reads a file of JSON in which nothing may be that its type does not
// know.
func (l *layout) decode(t *testing.T, path string, value any) {
	t.Helper()
	l.unused = slices.DeleteFunc(l.unused, func(p string) bool { return p == path })
	decoder := json.NewDecoder(bytes.NewReader(l.files[path]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// blob returns what a descriptor refers to, which has to be as it says, decoded
// into value unless that is nil.
func (l *layout) blob(t *testing.T, d v1.Descriptor, value any) []byte {
	t.Helper()
	path := "blobs/sha256/" + d.Digest.Encoded()
	data := l.files[path]
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(data)); string(d.Digest) != got || d.Size != int64(len(data)) {
		t.Fatalf("%s has %d bytes, digest %s, want %d", d.Digest, len(data), got, d.Size)
	}
	if value != nil {
		l.decode(t, path, value)
	}
	l.unused = slices.DeleteFunc(l.unused, func(p string) bool { return p == path })
	return data
}

func gunzip(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return unpacked
}
