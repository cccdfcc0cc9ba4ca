package probe

import (
	"errors"

	"golang.org/x/sys/unix"
)

// untried are the reasons why a connection cannot even be tried. They say nothing about
// the rules. Once packets have left the socket the same errors do: then somebody else has
// answered.
var untried = [...]struct {
	errno  unix.Errno
	detail string // what to say instead of the error
}{
	{unix.EADDRINUSE, "the port is in use, perhaps by a running proxy"},
	{unix.ENETUNREACH, "there is no route to it"},
	{unix.EHOSTUNREACH, "there is no route to it"},
	{unix.EPERM, ""},
	{unix.EACCES, ""},
	{unix.EAFNOSUPPORT, ""},
}

// judgeUntried returns what an error before the first packet says about the rules.
func judgeUntried(err error) (Outcome, string) {
	if errors.As(err, new(outsideError)) {
		return Unknown, err.Error()
	}
	for _, reason := range untried {
		if !errors.Is(err, reason.errno) {
			continue
		}
		if reason.detail != "" {
			return Unknown, reason.detail
		}
		return Unknown, err.Error()
	}
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return Failed, "the address to connect from is missing on the loopback interface"
	}
	return judge(err)
}

// judge returns what an error of a connection says about the rules.
func judge(err error) (Outcome, string) {
	if errno := unix.Errno(0); errors.As(err, &errno) {
		return Failed, errno.Error()
	}
	return Failed, err.Error()
}
