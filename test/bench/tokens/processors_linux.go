package tokens

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// processors of this machine, divided between servers and load, half and half: neither takes time from the other. A
// machine with one has nothing to divide.
type processors struct {
	all, servers, load unix.CPUSet
	threads            int // that Go ran code on before the division
}

// maxProcessors is how many a unix.CPUSet can hold.
const maxProcessors = len(unix.CPUSet{}) * strconv.IntSize

// divide gives the processors of the load to this process.
func divide() (*processors, error) {
	p := &processors{}
	if err := unix.SchedGetaffinity(0, &p.all); err != nil {
		return nil, err
	}
	for cpu := range maxProcessors {
		switch {
		case !p.all.IsSet(cpu):
		case p.servers.Count() < p.all.Count()/2:
			p.servers.Set(cpu)
		default:
			p.load.Set(cpu)
		}
	}
	if p.servers.Count() == 0 {
		p.servers = p.all
	}
	p.threads = runtime.GOMAXPROCS(p.load.Count())
	return p, keep(&p.load)
}

// reunite gives this process all of them again.
func (p *processors) reunite() error {
	runtime.GOMAXPROCS(p.threads)
	return keep(&p.all)
}

// keep all threads of this process, and those that they begin, to some processors.
func keep(to *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, to); err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it has ended
			return err
		}
	}
	return nil
}

// serve begins a process on the processors of servers: it inherits those of the thread that begins it.
func (p *processors) serve(begin func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &p.servers); err != nil {
		return err
	}
	return errors.Join(begin(), unix.SchedSetaffinity(0, &p.load))
}
