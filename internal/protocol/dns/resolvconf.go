package dns

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Config says whom to ask and how. It is what resolv.conf(5) says, without
// the search list: a mail system asks for whole names only.
type Config struct {
	Servers  []string      // address:port, in the order of preference
	Timeout  time.Duration // for one server
	Attempts int           // rounds over all servers
	Rotate   bool          // begin with another server each time
	UseTCP   bool          // use-vc
	TrustAD  bool          // the servers' AD bit is believed
}

// Limits of resolv.conf(5): three servers, timeouts up to 30 s, five rounds.
const (
	maxServers  = 3
	maxTimeout  = 30
	maxAttempts = 5
)

func defaults() Config {
	return Config{Timeout: 5 * time.Second, Attempts: 2}
}

// ReadConfig reads a file of the form of /etc/resolv.conf. As in the resolver
// library a missing file means the server on this host.
func ReadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		c := defaults()
		c.Servers = []string{"127.0.0.1:53"}
		return c, nil
	}
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	return parseConfig(f)
}

func parseConfig(r io.Reader) (Config, error) {
	c := defaults()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(c.Servers) < maxServers {
				c.Servers = append(c.Servers, net.JoinHostPort(a.String(), "53"))
			}
		case "options":
			for _, o := range words[1:] {
				c.option(o)
			}
		}
	}
	if len(c.Servers) == 0 {
		c.Servers = []string{"127.0.0.1:53"}
	}
	return c, lines.Err()
}

// option takes one word of an options line. Unknown ones are ignored, as the
// resolver library does.
func (c *Config) option(word string) {
	name, value, _ := strings.Cut(word, ":")
	n, err := strconv.Atoi(value)
	number := err == nil && n >= 0
	switch {
	case name == "timeout" && number:
		c.Timeout = time.Duration(max(1, min(n, maxTimeout))) * time.Second
	case name == "attempts" && number:
		c.Attempts = max(1, min(n, maxAttempts))
	case name == "rotate":
		c.Rotate = true
	case name == "use-vc":
		c.UseTCP = true
	case name == "trust-ad":
		c.TrustAD = true
	}
}
