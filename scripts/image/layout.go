package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is an OCI image layout (image-layout.md of the specification): its files by
// their paths, without folders.
type layout struct{ files map[string][]byte }

// newArchive returns the archive of an image for several platforms, and how many bytes
// have to be pulled for each.
//
// Its index.json lists only the index of the platforms. If it listed each platform, tools
// could pick only one.
func newArchive(programs []program, about description) (archive []byte, sizes []int, err error) {
	l := &layout{files: make(map[string][]byte)}
	var images []v1.Descriptor
	for _, p := range programs {
		image, size, err := newImage(l, p, about)
		if err != nil {
			return nil, nil, err
		}
		images, sizes = append(images, image), append(sizes, size)
	}
	platforms, err := l.addJSON(v1.MediaTypeImageIndex, index(images, about.annotations()))
	if err != nil {
		return nil, nil, err
	}
	platforms.Annotations = map[string]string{v1.AnnotationRefName: tag(about.version)}
	if err := l.putJSON(v1.ImageIndexFile, index([]v1.Descriptor{platforms}, nil)); err != nil {
		return nil, nil, err
	}
	if err := l.putJSON(v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion}); err != nil {
		return nil, nil, err
	}
	archive, err = l.tar(about.created)
	return archive, sizes, err
}

func index(manifests []v1.Descriptor, annotations map[string]string) v1.Index {
	return v1.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageIndex,
		Manifests:   manifests,
		Annotations: annotations,
	}
}

// tag returns a version as a registry's tag, which may not have a plus sign or
// parentheses.
func tag(version string) string {
	return strings.NewReplacer("+", "_", "(", "", ")", "").Replace(version)
}

// add adds a blob.
func (l *layout) add(mediaType string, data []byte) v1.Descriptor {
	d := digestOf(data)
	l.files[v1.ImageBlobsDir+"/"+d.Algorithm().String()+"/"+d.Encoded()] = data
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func digestOf(data []byte) digest.Digest {
	sum := sha256.Sum256(data)
	return digest.NewDigestFromBytes(digest.SHA256, sum[:])
}

func (l *layout) addJSON(mediaType string, value any) (v1.Descriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.add(mediaType, data), nil
}

func (l *layout) putJSON(path string, value any) error {
	data, err := json.Marshal(value)
	l.files[path] = data
	return err
}

// tar returns the layout as a tar archive, its files in the order of their paths.
func (l *layout) tar(modified time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(l.files)) {
		header := tar.Header{
			Typeflag: tar.TypeReg, Name: path, Size: int64(len(l.files[path])), Mode: 0o644,
			ModTime: modified, Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(l.files[path]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
