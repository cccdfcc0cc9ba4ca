package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Users looks up ids by name. An unknown name is an error.
type Users interface {
	UserID(name string) (uint32, error)
	GroupID(name string) (uint32, error)
}

// PodUsers are the users of a pod, for whoever runs outside of it: names are not known there.
type PodUsers struct{}

// UserID returns an error.
func (PodUsers) UserID(string) (uint32, error) { return 0, errPodUser }

// GroupID returns an error.
func (PodUsers) GroupID(string) (uint32, error) { return 0, errPodUser }

var errPodUser = errors.New("users and groups must be numbers, because names belong to the pod")

var errNoUsers = errors.New("there is no list of users and groups")

// UserID finds the id of a user, if there is a list of users. As a [Lookup] it uses the
// sources as they are when it is called.
func (s *Sources) UserID(name string) (uint32, error) {
	if s.Users == nil {
		return 0, errNoUsers
	}
	return s.Users.UserID(name)
}

// GroupID finds the id of a group, like UserID.
func (s *Sources) GroupID(name string) (uint32, error) {
	if s.Users == nil {
		return 0, errNoUsers
	}
	return s.Users.GroupID(name)
}

// Lookup finds the id for a name.
type Lookup func(name string) (uint32, error)

// UserIDs returns a value that is a list of users by name or number.
func UserIDs(target *[]uint32, find Lookup) pflag.Value { return idList(target, "user", find) }

// GroupIDs returns a value that is a list of groups by name or number.
func GroupIDs(target *[]uint32, find Lookup) pflag.Value { return idList(target, "group", find) }

// idList is a list of users or groups; who is "user" or "group".
func idList(target *[]uint32, who string, find Lookup) List[uint32] {
	return List[uint32]{
		Target: target,
		Kind:   who + "s",
		Must:   who + "s by name or number",
		Parse:  func(word string) (uint32, error) { return ParseID(word, who, find) },
		Print:  formatID,
	}
}

// ParseID reads a number that is not 2^32-1, or looks up a name; who is "user" or "group".
// Its errors follow the word in messages.
func ParseID(word, who string, find Lookup) (uint32, error) {
	if word == "" || strings.Trim(word, "0123456789") != "" {
		id, err := find(word)
		if err != nil {
			return 0, fmt.Errorf("is not a known %s: %w", who, err)
		}
		return id, nil
	}
	id, err := strconv.ParseUint(word, 10, 32)
	// The largest number is (uid_t)-1, which stands for "no user" (chown(2)).
	if err != nil || id == math.MaxUint32 {
		return 0, fmt.Errorf("is more than %d", uint32(math.MaxUint32-1))
	}
	return uint32(id), nil
}
