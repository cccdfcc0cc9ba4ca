package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PauseImage is what every pod runs, and ApplicationImage what [Pod.RunApplication] starts.
const (
	PauseImage       = "localhost/pause:1"
	ApplicationImage = "localhost/application:1"
)

// Image is what containers are made of.
type Image struct {
	// Name is its name, with a tag.
	Name string
	// Files has the file or folder of this machine for each path in the image.
	Files map[string]string
	// Config are options of umoci-config(1), such as "--config.entrypoint=/program".
	Config []string
}

// Program returns an image of one static program, and its arguments.
func Program(name, file string, args ...string) Image {
	i := Image{Name: name, Files: map[string]string{"/program": file}, Config: []string{"--config.entrypoint=/program"}}
	for _, arg := range args {
		i.Config = append(i.Config, "--config.cmd="+arg)
	}
	return i
}

// AddImages gives the node images. There is no registry to pull them from.
func (n *Node) AddImages(ctx context.Context, images ...Image) error {
	for _, i := range images {
		archive, err := n.makeImage(ctx, i)
		if err != nil {
			return err
		}
		name, tag, _ := strings.Cut(i.Name, ":")
		if err := n.ImportImage(ctx, archive, name, tag); err != nil {
			return err
		}
	}
	return nil
}

// ImportImage gives the node the image of an archive, under a name and a tag.
func (n *Node) ImportImage(ctx context.Context, archive, name, tag string) error {
	out, err := n.ctr(ctx, "import", "--snapshotter", "native", "--base-name", name, archive)
	if err != nil {
		return err
	}
	// The archive has a tag of its own.
	_, rest, _ := strings.Cut(out, name+":")
	own, _, _ := strings.Cut(rest, " ")
	if own == tag {
		return nil
	}
	_, err = n.ctr(ctx, "tag", name+":"+own, name+":"+tag)
	return err
}

func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	return n.Run(ctx, "ctr", append([]string{"--address", n.Socket(), "--namespace", "k8s.io", "images"}, args...)...)
}

// makeImage writes an image as an archive.
func (n *Node) makeImage(ctx context.Context, i Image) (archive string, err error) {
	name, tag, _ := strings.Cut(i.Name, ":")
	folder := n.path(strings.ReplaceAll(name, "/", "-"))
	layout, bundle := filepath.Join(folder, "layout"), filepath.Join(folder, "bundle")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	archive = folder + ".tar"
	image := layout + ":" + tag
	steps := [][]string{{"umoci", "init", "--layout", layout}, {"umoci", "new", "--image", image}, {"umoci", "unpack", "--image", image, bundle}}
	for inside, file := range i.Files {
		to := filepath.Join(bundle, "rootfs", inside)
		steps = append(steps, []string{"mkdir", "-p", filepath.Dir(to)}, []string{"cp", "-a", "-T", file, to})
	}
	steps = append(steps, []string{"umoci", "repack", "--image", image, bundle},
		append([]string{"umoci", "config", "--image", image}, i.Config...),
		[]string{"tar", "-C", layout, "-cf", archive, "."})
	for _, step := range steps {
		if _, err := n.Run(ctx, step[0], step[1:]...); err != nil {
			return "", fmt.Errorf("image %s: %w", i.Name, err)
		}
	}
	return archive, nil
}
