package oracle

import (
	"os"
	"testing"

	"postern/internal/protocol/dns/dnstest"
	"postern/test/harness"
)

// nameserver is where resolv.conf of the private root sends both systems: a
// loopback address of its own, because that file has no place for a port.
const nameserver = "127.0.0.153:53"

// startDNS answers for the names of testdata/zone.txt.
func startDNS(t *testing.T) *dnstest.Server {
	t.Helper()
	zone, err := os.ReadFile("testdata/zone.txt")
	if err != nil {
		t.Fatal(err)
	}
	s, err := dnstest.Listen(nameserver, string(zone))
	if err != nil {
		harness.Skip(t, "the name server of the archives cannot listen: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}
