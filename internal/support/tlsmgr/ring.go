package tlsmgr

import (
	"crypto/rand"
	"errors"
	"time"
)

var errDisabled = errors.New("smtpd_tls_session_cache_timeout is zero")

// current returns the keys, one after the other, and for how long the first
// one stays the first.
func (r *ring) current() ([]byte, time.Duration, error) {
	if r.life <= 0 {
		return nil, 0, errDisabled
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for n := len(r.keys); n > 0 && now.Sub(r.keys[n-1].made) >= 2*r.life; n = len(r.keys) {
		r.keys = r.keys[:n-1]
	}
	if len(r.keys) == 0 || now.Sub(r.keys[0].made) >= r.life {
		k := key{made: now}
		if _, err := rand.Read(k.octets[:]); err != nil {
			return nil, 0, err
		}
		r.keys = append([]key{k}, r.keys...)
	}
	var out []byte
	for i := range r.keys {
		out = append(out, r.keys[i].octets[:]...)
	}
	return out, r.life - now.Sub(r.keys[0].made), nil
}
