package starttls

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
)

// A Lookup finds the certificate chain for a server's name: keys, each followed
// by its certificates, in PEM and base64 (tls_server_sni_maps, a table that
// "postmap -F" has made).
type Lookup func(ctx context.Context, name string) (value string, found bool, err error)

// A sniMap chooses certificates by the name that the client asks for.
type sniMap struct {
	lookup Lookup

	mu    sync.Mutex
	known map[[sha256.Size]byte][]tls.Certificate // by the text of the chain
}

// maxKnown bounds how many chains are kept ready.
const maxKnown = 1000

// find returns the certificates for a name, or for the nearest domain above it
// that has a leading dot in the table.
func (m *sniMap) find(ctx context.Context, name string) ([]tls.Certificate, error) {
	for key := strings.ToLower(strings.TrimSuffix(name, ".")); key != ""; {
		value, found, err := m.lookup(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("tls_server_sni_maps: lookup of %q: %w", key, err)
		}
		if found {
			certs, err := m.chain(value)
			if err != nil {
				return nil, fmt.Errorf("tls_server_sni_maps: entry %q: %w", key, err)
			}
			return certs, nil
		}
		i := strings.IndexByte(key[1:], '.')
		if i < 0 {
			break
		}
		key = key[1+i:]
	}
	return nil, nil
}

func (m *sniMap) chain(value string) ([]tls.Certificate, error) {
	sum := sha256.Sum256([]byte(value))
	m.mu.Lock()
	certs, ok := m.known[sum]
	m.mu.Unlock()
	if ok {
		return certs, nil
	}
	text, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, fmt.Errorf("not base64: build the table with \"postmap -F\": %w", err)
	}
	if certs, err = parseChains(text); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxKnown || m.known == nil {
		m.known = map[[sha256.Size]byte][]tls.Certificate{}
	}
	m.known[sum] = certs
	return certs, nil
}

// validHost says whether a client may ask for such a name; what it sends goes
// into a table lookup.
func validHost(name string) bool {
	if len(name) > 255 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}
