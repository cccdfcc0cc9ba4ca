package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// programPath is where the program is in the image: on the PATH, so that a manifest's
// "command: [meshtables, verify]" works.
const programPath = "usr/local/bin/meshtables"

// layer returns the file system of the image as a tar archive: the program and its
// folders.
func layer(program []byte, modified time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, folder := range []string{"usr/", "usr/local/", "usr/local/bin/"} {
		header := tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o755, ModTime: modified, Format: tar.FormatPAX}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
	}
	header := tar.Header{
		Typeflag: tar.TypeReg, Name: programPath, Size: int64(len(program)), Mode: 0o755, ModTime: modified,
		Format:     tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": string(netAdminPermitted())},
	}
	if err := w.WriteHeader(&header); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// netAdminPermitted returns the value of the file attribute security.capability
// that "setcap cap_net_admin=p" sets: struct vfs_cap_data of linux/capability.h,
// all its words little endian.
//
// Kubernetes gives no ambient capabilities. So, whatever the manifest adds, the kernel
// takes NET_ADMIN from a user other than root when it starts the program, unless the file
// has it (capabilities(7), "Transformation of capabilities during execve"). The file has
// it permitted and not effective: with the effective bit the program could not even start
// without NET_ADMIN, such as for --dry-run. It gives nothing to a container without
// NET_ADMIN.
func netAdminPermitted() []byte {
	const revision2 = 0x02000000 // VFS_CAP_REVISION_2
	data := binary.LittleEndian.AppendUint32(nil, revision2)
	data = binary.LittleEndian.AppendUint32(data, 1<<unix.CAP_NET_ADMIN) // permitted
	// Inheritable, then the capabilities from number 32 on.
	return append(data, make([]byte, 3*4)...)
}

// compress returns data in gzip's format, without a name or a time.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
