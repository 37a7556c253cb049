package starttls

import (
	"crypto/tls"
	"fmt"
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
}

// ids lists the curves, nil for all that there are. Names that crypto/tls does
// not know are returned.
func (c *Curves) ids() (ids []tls.CurveID, unknown []string, err error) {
	list := ""
	switch strings.ToLower(c.Grade) {
	case "", "auto":
		list = c.Auto
	case "strong":
		list = c.Strong
	case "ultra":
		list = c.Ultra
	case "none":
		return nil, []string{"none"}, nil
	default:
		return nil, nil, fmt.Errorf("smtpd_tls_eecdh_grade = %s: use auto, strong or ultra", c.Grade)
	}
	for _, name := range cipherWords(list) {
		if id, ok := curveNames[strings.ToLower(name)]; ok {
			ids = append(ids, id)
		} else {
			unknown = append(unknown, name)
		}
	}
	return ids, unknown, nil
}
