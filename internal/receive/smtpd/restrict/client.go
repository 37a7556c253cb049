package restrict

import (
	"context"
	"net/netip"
)

func permitMynetworks(v *eval, it *item) Verdict {
	ok, err := v.myNetworks.Match(v.ctx, v.s.ClientName, v.s.ClientAddr)
	if err != nil {
		v.env.Log.Warningf("%s: %v", it.name, err)
		return v.tableTrouble()
	}
	if ok {
		return permit()
	}
	return Verdict{}
}

// tableTrouble is the verdict of a permit that could not look: what would have
// been permitted must not be refused for good.
func (v *eval) tableTrouble() Verdict {
	return Verdict{Kind: DeferIfReject, Reply: reply(451, "4.3.0",
		rejected(v.subject(v.list.about), v.list.about, "Temporary lookup failure")), fault: true}
}

func permitInetInterfaces(v *eval, _ *item) Verdict {
	a, err := netip.ParseAddr(v.s.ClientAddr)
	if err == nil && v.env.Own != nil && v.env.Own(a.Unmap()) {
		return permit()
	}
	return Verdict{}
}

func permitSASLAuthenticated(v *eval, _ *item) Verdict {
	if v.s.SASLEnabled && v.s.SASLUsername != "" {
		return permit()
	}
	return Verdict{}
}

func permitTLSAllClientcerts(v *eval, it *item) Verdict {
	v.askedCert(it)
	if v.s.TLS != nil && v.s.TLS.Trusted {
		return permit()
	}
	return Verdict{}
}

// askedCert warns when a restriction looks for a certificate that nobody is asked
// for. Postfix: the same.
func (v *eval) askedCert(it *item) {
	if t := v.s.TLS; t != nil && t.Peer == nil && !t.AskedCert {
		v.env.Log.Warningf("%s is requested, but \"smtpd_tls_ask_ccert = no\"", it.name)
	}
}

// permitTLSClientcerts permits clients whose certificate or public key has a
// fingerprint listed in relay_clientcerts.
func permitTLSClientcerts(v *eval, it *item) Verdict {
	v.askedCert(it)
	known, err := v.KnownCertificate(v.ctx, v.s)
	switch {
	case err != nil:
		return v.tableTrouble()
	case known:
		return permit()
	}
	return Verdict{}
}

// KnownCertificate says whether the client's certificate or public key is in
// relay_clientcerts.
func (e *Engine) KnownCertificate(ctx context.Context, s *Subject) (bool, error) {
	if s.TLS == nil || s.TLS.Peer == nil {
		return false, nil
	}
	for _, print := range [...]string{s.TLS.CertFingerprint, s.TLS.KeyFingerprint} {
		if _, found, err := e.relayCerts.Lookup(ctx, print); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func rejectUnknownClient(v *eval, _ *item) Verdict {
	if v.s.ClientName != "unknown" {
		return Verdict{}
	}
	code := 450
	if v.s.NameStatus >= NamePerm {
		code = v.UnknownClient
	}
	return reject(code, "4.7.25", "Client host rejected: cannot find your hostname, ["+v.s.ClientAddr+"]")
}

func rejectUnknownReverseClient(v *eval, _ *item) Verdict {
	if v.s.ReverseName != "unknown" {
		return Verdict{}
	}
	code := 450
	if v.s.ReverseStatus >= NamePerm {
		code = v.UnknownClient
	}
	return reject(code, "4.7.1", "Client host rejected: cannot find your reverse hostname, ["+v.s.ClientAddr+"]")
}
