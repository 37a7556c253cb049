// Command source sends messages to an SMTP or LMTP server and prints how fast
// it took them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"postern/test/load"
)

func main() {
	s := load.Source{}
	flag.StringVar(&s.Network, "network", "tcp", "tcp or unix")
	flag.StringVar(&s.Addr, "addr", "127.0.0.1:2525", "address of the server, or path of its socket")
	flag.IntVar(&s.Sessions, "sessions", 1, "sessions at once")
	flag.IntVar(&s.Messages, "messages", 1, "messages in all; 0: until interrupted")
	flag.IntVar(&s.PerSession, "per-session", 0, "messages over one connection; 0: no limit")
	flag.IntVar(&s.Recipients, "recipients", 1, "recipients of one message")
	flag.IntVar(&s.Size, "size", 4096, "octets of a message")
	flag.StringVar(&s.From, "from", "sender@load.example", "sender")
	flag.StringVar(&s.Run, "run", "", "prefix of message ids")
	flag.BoolVar(&s.LMTP, "lmtp", false, "speak LMTP")
	flag.BoolVar(&s.Pipeline, "pipeline", false, "send the envelope at once")
	flag.DurationVar(&s.Timeout, "timeout", 0, "time for one reply")
	flag.DurationVar(&s.Retry, "retry", 0, "go on so long after a broken connection")
	prefix := flag.String("to-prefix", "user", "local part of recipients, before the number")
	domain := flag.String("to-domain", "load.example", "domain of recipients")
	users := flag.Int("users", 1, "number of different recipients")
	flag.Parse()
	s.To = load.Users(*prefix, *domain, *users)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := s.Send(ctx)
	fmt.Println(r.String())
	if err != nil {
		fmt.Fprintln(os.Stderr, "source:", err)
		os.Exit(1)
	}
}
