package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// manyWords is how many bytes of arguments and environment make it likely that there are
	// lists of thousands of values.
	manyWords = 16 << 10
	// late puts the first collection off to 32 MiB, 8 times the usual 4 MiB
	// (heapMinimum in runtime/mgcpacer.go). The limits of the containers in deploy are twice
	// that.
	late = 800
)

// collectLate puts off the garbage collector of a run with long lists: it takes a quarter of
// their time, and the run is over soon. After the first collection it works as usual, so
// memory is bounded as usual. Whoever says in the environment how it is to work is obeyed.
// Other runs end before it starts, and changing it would be a thirtieth of what they cost.
func collectLate(args, env []string) {
	size := 0
	for _, words := range [][]string{args, env} {
		for _, word := range words {
			size += len(word)
		}
	}
	if size < manyWords || os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	usual := debug.SetGCPercent(late)
	runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}
