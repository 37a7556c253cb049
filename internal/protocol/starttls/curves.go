package starttls

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config/param"
)

// Curves are the parameters of the key exchange with elliptic curves.
type Curves struct {
	Grade               string // smtpd_tls_eecdh_grade: auto, strong, ultra, none
	Auto, Strong, Ultra string
}

// Params names the parameters.
func (c *Curves) Params(s *param.Set) {
	s.Str(&c.Grade, "smtpd_tls_eecdh_grade", "auto", param.MinLen(1))
	s.Str(&c.Auto, "tls_eecdh_auto_curves", "")
	s.Str(&c.Strong, "tls_eecdh_strong_curve", "prime256v1", param.MinLen(1))
	s.Str(&c.Ultra, "tls_eecdh_ultra_curve", "secp384r1", param.MinLen(1))
}

// curveNames are OpenSSL's names in small letters.
var curveNames = map[string]tls.CurveID{
	"x25519":         tls.X25519,
	"prime256v1":     tls.CurveP256,
	"secp256r1":      tls.CurveP256,
	"p-256":          tls.CurveP256,
	"secp384r1":      tls.CurveP384,
	"p-384":          tls.CurveP384,
	"secp521r1":      tls.CurveP521,
	"p-521":          tls.CurveP521,
	"x25519mlkem768": tls.X25519MLKEM768,

	"secp256r1mlkem768":  tls.SecP256r1MLKEM768,
	"secp384r1mlkem1024": tls.SecP384r1MLKEM1024,
}

// ids lists the curves, nil for all that there are. odd says what has no
// effect. A "?" before a name says that it may be unknown; "*", "/" and "-" are
// of OpenSSL 3.5 and about the first guess of a client.
func (c *Curves) ids() (ids []tls.CurveID, odd []string) {
	list := Named{"tls_eecdh_auto_curves", c.Auto}
	switch strings.ToLower(c.Grade) {
	case "", "auto":
	case "strong":
		list = Named{"tls_eecdh_strong_curve", c.Strong}
	case "ultra":
		list = Named{"tls_eecdh_ultra_curve", c.Ultra}
	case "none":
		return nil, []string{"smtpd_tls_eecdh_grade = none has no effect: without elliptic curves there is no exchange of keys here"}
	default:
		return nil, []string{fmt.Sprintf("invalid smtpd_tls_eecdh_grade value %q: use auto, strong or ultra; all curves are used", c.Grade)}
	}
	for _, word := range cipherWords(strings.ReplaceAll(list.Value, "/", ":")) {
		name := strings.TrimLeft(word, "*?")
		switch id, ok := curveNames[strings.ToLower(name)]; {
		case ok && !slices.Contains(ids, id):
			ids = append(ids, id)
		case !ok && !strings.Contains(word[:len(word)-len(name)], "?"):
			odd = append(odd, fmt.Sprintf("%s: curve %q is not known here", list.Name, word))
		}
	}
	return ids, odd
}
