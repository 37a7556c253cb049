package master

import (
	"os"
	"os/signal"
	"syscall"
)

// reap waits for all children of the process, as PID 1 of a container has to,
// and reports each.
func reap(report func(pid int, status syscall.WaitStatus)) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	for {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			report(pid, status)
		}
		<-signals
	}
}
