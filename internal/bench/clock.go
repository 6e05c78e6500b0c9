package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// spent is what a step took: time as it passes, and as the processors counted it.
type spent struct{ wall, cpu time.Duration }

func (s *spent) add(o spent) {
	s.wall += o.wall
	s.cpu += o.cpu
}

// clock measures a step of this process.
type clock struct {
	start time.Time
	cpu   time.Duration
}

func startClock() clock { return clock{time.Now(), processTime()} }

func (c clock) stop() spent { return spent{time.Since(c.start), processTime() - c.cpu} }

// processTime is the processor time of all threads of this process so far; 0 if the kernel does not say.
func processTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
