package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// timeValue is a duration with a least and, unless that is 0, a greatest value.
type timeValue struct {
	target      *time.Duration
	least, most time.Duration
	// allowed says what is, for the error.
	allowed string
}

var _ pflag.Value = (*timeValue)(nil)

// newEvery returns the value of a time between two looks at the same.
func newEvery(target *time.Duration) *timeValue {
	return &timeValue{target, time.Second, 0, "must be a duration of a second or more, such as 30s or 5m"}
}

// Set implements [pflag.Value].
func (v *timeValue) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < v.least || v.most > 0 && d > v.most {
		return errors.New(v.allowed)
	}
	*v.target = d
	return nil
}

// String returns nothing for 0, so that help shows no default.
func (v *timeValue) String() string {
	if v.target == nil || *v.target == 0 {
		return ""
	}
	return v.target.String()
}

// Type implements [pflag.Value].
func (v *timeValue) Type() string { return "time" }
