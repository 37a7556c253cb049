package starttls

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

// What a list of ciphers, curves, options or versions says to no effect is named.
func TestOddWords(t *testing.T) {
	for _, tt := range []struct {
		list     string
		excluded bool
		want     string // the words
	}{
		{defaultHigh, false, ""}, {defaultMedium, false, ""}, {"ECDHE+AESGCM:ECDHE+CHACHA20", false, ""}, {"aNULL, eNULL, DES-CBC3-SHA, RC4, kDH", true, ""},
		{"HIGH:!SSLv2:!DES+MD5:!CAMELLIA", false, ""}, {"CAMELLIA128:HIGH", false, "CAMELLIA128"}, {"DHE-RSA-AES128-GCM-SHA256:HIGH", false, "DHE-RSA-AES128-GCM-SHA256"},
		{"HIGH:!AES12", false, "AES12"}, {"RC44", true, "RC44"}, {"ECDHE-RSA-AES128-GCM-SHA265", true, "ECDHE-RSA-AES128-GCM-SHA265"},
		{"DEFAULT@SECLEVEL=0", false, "@SECLEVEL=0"}, {"HIGH:@STRENGTH", false, ""}, {"aNULL:-aNULL:HIGH", false, ""}, {"aNULL:HIGH", false, "aNULL"},
		{"SUITEB128:CBC", false, ""}, {"AESGCM+NONSENSE", false, "AESGCM+NONSENSE"},
	} {
		odd := oddCiphers(tt.list, tt.excluded)
		got := slices.Concat(odd.unknown, odd.empty, odd.commands)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %q, want %q", tt.list, got, tt.want)
		}
	}
	g := Grades{High: "CAMELLIA:HIGH:kDHE"}
	want := []string{"tls_high_cipherlist: CAMELLIA, kDHE: without effect, because there are no such ciphers here",
		"smtpd_tls_exclude_ciphers: NONE: unknown, and without effect"}
	if got := g.Odd("high", Named{"smtpd_tls_exclude_ciphers", "NONE"}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCurves(t *testing.T) {
	for _, tt := range []struct {
		curves Curves
		want   []tls.CurveID
		odd    string
	}{
		{Curves{Grade: "auto"}, nil, ""},
		{Curves{Grade: "auto", Auto: "X25519 prime256v1"}, []tls.CurveID{tls.X25519, tls.CurveP256}, ""},
		{Curves{Grade: "auto", Auto: "X448 P-384"}, []tls.CurveID{tls.CurveP384}, `tls_eecdh_auto_curves: curve "X448" is not known here`},
		{Curves{Grade: "auto", Auto: "?*X25519MLKEM768 / *X25519:?SecP256r1MLKEM768:?x448"}, []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.SecP256r1MLKEM768}, ""},
		{Curves{Grade: "ultra", Ultra: "secp384r1"}, []tls.CurveID{tls.CurveP384}, ""},
		{Curves{Grade: "none"}, nil, "smtpd_tls_eecdh_grade = none has no effect"},
		{Curves{Grade: "best"}, nil, `invalid smtpd_tls_eecdh_grade value "best"`},
	} {
		got, odd := tt.curves.ids()
		if !slices.Equal(got, tt.want) || (len(odd) > 0) != (tt.odd != "") || len(odd) > 0 && !strings.HasPrefix(odd[0], tt.odd) {
			t.Errorf("%+v: got %v, %q; want %v, %q", tt.curves, got, odd, tt.want, tt.odd)
		}
	}
}

func TestOptionWords(t *testing.T) {
	for _, tt := range []struct {
		options   string
		noTickets bool
		want      string
	}{
		{"NO_TICKET, NO_COMPRESSION", true, ""}, {"0x4000", true, ""}, {"0x40020000", false, ""}, {"ENABLE_MIDDLEBOX_COMPAT", false, ""},
		{"0x8", false, "tls_ssl_options: 0x8: 0x8 has no effect"}, {"LEGACY_SERVER_CONNECT", false, "tls_ssl_options: LEGACY_SERVER_CONNECT has no effect"},
	} {
		var log lines
		p := ServerParams{Options: tt.options}
		if got := p.options(&log); got != tt.noTickets || strings.Join(log, "|") != tt.want {
			t.Errorf("%s: got %v, %q", tt.options, got, []string(log))
		}
	}
}

// A bound in hexadecimal that is no version is passed over.
func TestProtocolNumbers(t *testing.T) {
	for _, tt := range []struct {
		list string
		want Versions
	}{
		{">=0x0303", Versions{Min: tls.VersionTLS12}}, {">=303, <=0304", Versions{Min: tls.VersionTLS12, Max: tls.VersionTLS13}},
		{">=771", Versions{Min: tls.VersionTLS12, Unknown: ">=771"}}, {">=TLSv1.3, <=0305", Versions{Min: tls.VersionTLS13, Unknown: "<=0305"}},
	} {
		if got, err := ParseProtocols(tt.list); err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v; want %+v", tt.list, got, err, tt.want)
		}
	}
	if _, err := ParseProtocols("!771"); err == nil {
		t.Error("!771: no error")
	}
}
