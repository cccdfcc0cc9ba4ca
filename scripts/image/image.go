package main

import (
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// user is the user of the program unless a manifest names one: not root, but in root's
// group, which may read the list of legacy tables (/proc/net/ip_tables_names is of
// root:root, mode 0440).
const user = "65532:0"

// searchPath is what container runtimes use for an image without a PATH. With it, every
// runtime finds the program by name.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newImage adds the image of one program to the layout. It returns how many bytes have to
// be pulled for it.
func newImage(l *layout, p program, about description) (image v1.Descriptor, size int, err error) {
	files, err := layer(p.bytes, about.created)
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	compressed, err := compress(files)
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	platform := v1.Platform{OS: "linux", Architecture: p.arch}
	filesAt := l.add(v1.MediaTypeImageLayerGzip, compressed)
	config, err := l.addJSON(v1.MediaTypeImageConfig, v1.Image{
		Created:  &about.created,
		Platform: platform,
		Config: v1.ImageConfig{
			User:       user,
			Env:        []string{"PATH=" + searchPath},
			Entrypoint: []string{"/" + programPath},
			Labels:     about.annotations(),
		},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{digestOf(files)}},
		History: []v1.History{{Created: &about.created, CreatedBy: "scripts/image", Comment: "the program, static"}},
	})
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	image, err = l.addJSON(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageManifest,
		Config:      config,
		Layers:      []v1.Descriptor{filesAt},
		Annotations: about.annotations(),
	})
	image.Platform = &platform
	return image, int(image.Size + config.Size + filesAt.Size), err
}

// annotations returns the description under the names of the OCI image specification
// (annotations.md).
func (d description) annotations() map[string]string {
	annotations := map[string]string{
		v1.AnnotationTitle:       "meshtables",
		v1.AnnotationDescription: "makes a pod's traffic pass through its sidecar proxy",
		v1.AnnotationLicenses:    "Apache-2.0",
		v1.AnnotationSource:      "https://github.com/meshtables/meshtables",
		v1.AnnotationVersion:     d.version,
		v1.AnnotationCreated:     d.created.Format(time.RFC3339),
	}
	if d.revision != "" {
		annotations[v1.AnnotationRevision] = d.revision
	}
	return annotations
}
