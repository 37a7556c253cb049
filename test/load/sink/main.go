// Command sink takes messages over SMTP or LMTP, forgets them, and prints how
// many there were when it is interrupted.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"postern/test/load"
)

func main() {
	s := &load.Sink{}
	network := flag.String("network", "tcp", "tcp or unix")
	addr := flag.String("addr", "127.0.0.1:2625", "address to listen on, or path of a socket")
	flag.BoolVar(&s.LMTP, "lmtp", false, "speak LMTP")
	flag.DurationVar(&s.Delay, "delay", 0, "wait before the reply to the end of data")
	flag.Parse()
	if err := s.Listen(*network, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	s.Close()
	c := s.Counts()
	fmt.Printf("sessions %d (at most %d at once), messages %d, recipients %d, octets %d\n",
		c.Sessions, c.PeakSessions, c.Messages, c.Recipients, c.Octets)
}
