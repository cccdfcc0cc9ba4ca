package cni

import (
	"io"
	"log/slog"
	"os"
)

// openLog returns the logger that the configuration asks for: a line for each message, with
// the pod. If the file cannot be opened, messages go to stderr: no pod has to wait for that.
func (c *call) openLog(stderr io.Writer) (log *slog.Logger, end func()) {
	w, end := stderr, func() {}
	var unopened error
	if c.logFile != "" {
		// Many calls append at once, each a line by one write(2).
		file, err := os.OpenFile(c.logFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if unopened = err; err == nil {
			w, end = file, func() { file.Close() }
		}
	}
	log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: c.logLevel}))
	if c.pod != (podName{}) {
		log = log.With("pod", c.pod.String())
	}
	if c.args.ContainerID != "" {
		log = log.With("container", c.args.ContainerID)
	}
	if unopened != nil {
		log.Warn(keyLogFile + ": messages are on stderr: " + unopened.Error())
	}
	return log, end
}
