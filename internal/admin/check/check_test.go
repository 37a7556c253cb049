package check

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/texthash"
)

// instance writes a configuration; the queue directory is there.
func instance(t *testing.T, main, master string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir) // the check changes the working directory
	for name, text := range map[string]string{
		"main.cf":   "myhostname = mail.example.com\nqueue_directory = " + dir + "\ndaemon_directory = " + dir + "\n" + main,
		"master.cf": master,
		"smtpd":     "", "pipe": "",
	} {
		write(t, filepath.Join(dir, name), text, 0o755)
	}
	return dir
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// look returns the findings as lines, without the directory.
func look(t *testing.T, dir string) []string {
	t.Helper()
	k := Knowledge{
		Tables: append(bdb.Types(), texthash.Type()),
		Parameters: []func(*param.Set){new(param.Common).Params, func(s *param.Set) {
			var text string
			s.Str(&text, "smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination")
			for _, name := range []string{
				"smtpd_recipient_restrictions", "smtpd_restriction_classes", "virtual_alias_maps", "smtpd_tls_chain_files",
				"virtual_mailbox_domains", "virtual_alias_domains", "smtpd_sasl_auth_enable", "smtpd_tls_auth_only", "smtpd_sasl_path", "smtpd_sasl_type",
				"smtpd_sasl_security_options", "content_filter", "smtpd_tls_wrappermode", "smtpd_use_tls",
				"smtpd_tls_cert_file", "smtpd_tls_security_level", "master_service_disable", "smtpd_tls_CAfile",
			} {
				s.Str(&text, name, "")
			}
			s.Str(&text, "smtpd_tls_key_file", "$smtpd_tls_cert_file")
		}},
		Listen:  func(string) error { return nil },
		Unknown: func(*maincf.Config, []string) []string { return nil },
	}
	var lines []string
	for _, f := range Configuration(dir, k) {
		lines = append(lines, strings.ReplaceAll(string(f.Severity)+": "+f.String(), dir+"/", ""))
	}
	return lines
}

const smtpd = "smtp inet n - n - - smtpd\n"

func TestRelay(t *testing.T) {
	const open = ` (service smtp/inet); set smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination`
	for _, tt := range []struct {
		name, main, master string
		want               string
	}{
		{"default", "", smtpd, ""},
		{"permit", "smtpd_relay_restrictions = permit_mynetworks, permit, reject_unauth_destination\n", smtpd,
			`error: main.cf, line 4: an open relay: "permit" stands before every restriction that refuses strangers` + open},
		{"none", "smtpd_relay_restrictions =\n", smtpd,
			"error: main.cf, line 4: nothing keeps strangers from sending mail to anywhere: neither smtpd_relay_restrictions nor smtpd_recipient_restrictions refuses" + open},
		{"the other list", "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n", smtpd, ""},
		{"a class", "smtpd_relay_restrictions = inner\nsmtpd_restriction_classes = inner\ninner = reject\n", smtpd, ""},
		{"a class of itself", "smtpd_relay_restrictions = inner\nsmtpd_restriction_classes = inner\ninner = inner\nsmtpd_recipient_restrictions = reject\n", smtpd, ""},
		{"only a warning", "smtpd_relay_restrictions = warn_if_reject reject_unauth_destination\n", smtpd,
			"error: main.cf, line 4: nothing keeps strangers from sending mail to anywhere: neither smtpd_relay_restrictions nor smtpd_recipient_restrictions refuses" + open},
		{"one service", "", smtpd + "2525 inet n - n - - smtpd -o smtpd_relay_restrictions=permit\n",
			`error: master.cf, line 2: an open relay: "permit" stands before every restriction that refuses strangers` + strings.Replace(open, "smtp/inet", "2525/inet", 1)},
		{"everybody is ours", "mynetworks = 127.0.0.0/8 [::]/0\n", smtpd,
			"error: main.cf, line 4: mynetworks trusts [::]/0, which is not one site's network (service smtp/inet); list your own networks only: their clients may send mail to anywhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(look(t, instance(t, tt.main, tt.master)), "\n")
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	dir := instance(t, "virtual_alias_maps = hash:$queue_directory/no, foo:x texthash:$queue_directory/there\n", smtpd)
	write(t, dir+"/there", "a b\n", 0o644)
	want := []string{
		"error: main.cf, line 4: table hash:no: open database no.db: No such file or directory; make the file no and run: postmap hash:no",
		`error: main.cf, line 4: table foo:x: unsupported dictionary type: foo; "postconf -m" lists the types`,
	}
	if got := look(t, dir); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTableOlderThanItsText(t *testing.T) {
	dir := instance(t, "virtual_alias_maps = hash:$queue_directory/aliases\n", smtpd)
	write(t, dir+"/aliases", "a b\n", 0o644)
	o := table.NewOpener(bdb.Types())
	typ, _ := o.Lookup("hash")
	w, err := typ.Create(dir+"/aliases", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := look(t, dir); len(got) != 0 {
		t.Fatalf("got %q", got)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(dir+"/aliases", later, later); err != nil {
		t.Fatal(err)
	}
	want := []string{"warning: main.cf, line 4: table hash:aliases: aliases is newer than aliases.db; run: postmap hash:aliases (postalias for aliases)"}
	if got := look(t, dir); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// pair makes a key and a certificate for it that is valid until end.
func pair(t *testing.T, end time.Time) (key, cert string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour * 2400), NotAfter: end, DNSNames: []string{"a.example"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestTLS(t *testing.T) {
	soon := time.Now().Add(100 * time.Hour)
	key, cert := pair(t, time.Now().Add(1000*time.Hour))
	other, _ := pair(t, time.Now().Add(1000*time.Hour))
	_, ending := pair(t, soon)
	endingKey, ending := pair(t, soon)
	overKey, over := pair(t, time.Now().Add(-48*time.Hour))
	const remedy = "; name a key and the certificate made for it, in PEM form, unencrypted"
	for _, tt := range []struct {
		name, main string
		key, cert  string
		mode       os.FileMode
		want       string
	}{
		{"fine", "smtpd_tls_cert_file = $queue_directory/cert\nsmtpd_tls_key_file = $queue_directory/key\n", key, cert, 0o600, ""},
		{"of another key", "smtpd_tls_cert_file = $queue_directory/cert\nsmtpd_tls_key_file = $queue_directory/key\n", other, cert, 0o600,
			"error: main.cf, line 4: smtpd_tls_cert_file: cert and key: tls: private key does not match public key (service smtp/inet)" + remedy},
		{"in one file", "smtpd_tls_chain_files = $queue_directory/cert\n", "", key + cert, 0o600, ""},
		{"in two files", "smtpd_tls_chain_files = $queue_directory/key, $queue_directory/cert\n", key, cert, 0o600, ""},
		{"in the wrong order", "smtpd_tls_chain_files = $queue_directory/cert, $queue_directory/key\n", key, cert, 0o600,
			"error: main.cf, line 4: smtpd_tls_chain_files: cert: a certificate stands before its key (service smtp/inet)" + remedy},
		{"open to all", "smtpd_tls_chain_files = $queue_directory/key, $queue_directory/cert\n", key, cert, 0o644,
			"warning: main.cf, line 4: smtpd_tls_chain_files: everybody can read the private key key (service smtp/inet); chmod 600 key"},
		{"ending", "smtpd_tls_chain_files = $queue_directory/key, $queue_directory/cert\n", endingKey, ending, 0o600,
			"warning: main.cf, line 4: smtpd_tls_chain_files: the certificate in key runs out on " + soon.UTC().Format(time.DateOnly) + " (service smtp/inet); renew the certificate"},
		{"over", "smtpd_tls_chain_files = $queue_directory/key, $queue_directory/cert\n", overKey, over, 0o600,
			"error: main.cf, line 4: smtpd_tls_chain_files: the certificate in key ran out on " + time.Now().UTC().Add(-48*time.Hour).Format(time.DateOnly) + " (service smtp/inet); renew the certificate"},
		{"no PEM", "smtpd_tls_CAfile = $queue_directory/cert\n", "", "x", 0o600,
			"error: main.cf, line 4: smtpd_tls_CAfile: cert: not in PEM form (service smtp/inet); name a file with certificates in PEM form"},
		{"no certificate", "smtpd_tls_security_level = may\n", "", "", 0o600,
			"error: main.cf, line 4: smtpd_tls_security_level = may, but there is no certificate (service smtp/inet); set smtpd_tls_chain_files to a file with a key and its certificates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := instance(t, tt.main, smtpd)
			write(t, dir+"/key", tt.key, tt.mode)
			write(t, dir+"/cert", tt.cert, 0o600)
			if err := os.Chmod(dir+"/key", tt.mode); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(look(t, dir), "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestBrokenFiles(t *testing.T) {
	for _, tt := range []struct{ main, master, want string }{
		{"frob\n", smtpd, `error: main.cf, line 4: missing '=' after attribute name: "frob"; a line is "name = value", or continues the one before it with a blank in front`},
		{"", "smtp inet x\n", `error: master.cf, line 1: missing "unprivileged" field`},
		{"", "smtp inet n - n - - smtpd\nsmtp inet n - n - - smtpd\n",
			`warning: master.cf, line 2: duplicate master.cf entry for service "smtp" (inet) -- using the last entry; remove one of the two entries`},
		{"", "smtp inet n - n - - nosuch\n", "error: master.cf, line 1: program nosuch: no such file or directory (service smtp/inet); name a program in daemon_directory, or remove the entry"},
		{"relayhost = a\nrelayhost = b\n", smtpd, "warning: main.cf, line 5: overriding earlier entry: relayhost=a; remove one of the two lines"},
		{"line_length_limit = x\n", smtpd, "error: main.cf, line 4: bad numerical configuration: line_length_limit = x"},
	} {
		dir := instance(t, tt.main, tt.master)
		if got := strings.Join(look(t, dir), "\n"); got != tt.want {
			t.Errorf("%q, %q: got\n%s\nwant\n%s", tt.main, tt.master, got, tt.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	for item, want := range map[string]string{
		"10.0.0.0/8": "", "127.0.0.1": "", "[::1]/128": "", "[2001:db8::1]": "", "/etc/networks": "", "cidr:/x": "", "!10.1.0.0/16": "", "mail.example": "",
		"10.0.0.1/8":      `non-null host address bits in "10.0.0.1/8"; write 10.0.0.0/8`,
		"10.0.0.0/33":     "10.0.0.0/33 is no network; write a network as 192.0.2.0/24 or [2001:db8::]/32",
		"1.2.3.400":       "1.2.3.400 is no address; write all of the address, and the length of the network's prefix behind it, such as 192.0.2.0/24",
		"!192.168":        "!192.168 is no address; write all of the address, and the length of the network's prefix behind it, such as 192.0.2.0/24",
		"[2001:db8::1/32": `non-null host address bits in "[2001:db8::1/32"; write 2001:db8::/32`,
	} {
		message, remedy := badNetwork(item)
		if got := strings.TrimPrefix(message+"; "+remedy, "; "); got != want {
			t.Errorf("%s: got %q, want %q", item, got, want)
		}
	}
}

// A delivery agent that master.cf does not have keeps mail waiting.
func TestTransports(t *testing.T) {
	const want = "warning: main.cf, line 4: content_filter = scan:[127.0.0.1]:10024: there is no service scan/unix in master.cf, and mail would wait for it" +
		" (service smtp/inet); name a service of master.cf, or add the entry"
	for _, tt := range []struct{ main, master, want string }{
		{"", smtpd, ""},
		{"content_filter = scan:[127.0.0.1]:10024\n", smtpd, want},
		{"content_filter = scan:[127.0.0.1]:10024\n", smtpd + "scan inet n - n - - smtpd\n", want},
		{"content_filter = scan:[127.0.0.1]:10024\n", smtpd + "scan unix - n n - - pipe user=nobody argv=/bin/true\n", ""},
		{"content_filter = scan:\n", "smtp inet n - n - - smtpd -o content_filter=\n", ""},
		{"", "smtp inet n - n - - smtpd -o content_filter=scan\n", "warning: master.cf, line 1: content_filter = scan: there is no service scan/unix in master.cf, and mail would wait for it" +
			" (service smtp/inet); name a service of master.cf, or add the entry"},
	} {
		dir := instance(t, tt.main, tt.master)
		if got := look(t, dir); !strings.Contains("\n"+strings.Join(got, "\n")+"\n", "\n"+tt.want+"\n") || tt.want == "" && strings.Contains(strings.Join(got, "\n"), "scan") {
			t.Errorf("%q, %q: got\n%s\nwant\n%s", tt.main, tt.master, strings.Join(got, "\n"), tt.want)
		}
	}
}

func TestNoQueueDirectory(t *testing.T) {
	dir := instance(t, "", smtpd)
	write(t, dir+"/main.cf", "myhostname = a.example\nqueue_directory = "+dir+"/none\ndaemon_directory = "+dir+"\n", 0o644)
	want := []string{`error: main.cf, line 2: queue directory none: no such file or directory; "postfix check" as root makes it`}
	if got := look(t, dir); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMainPrintsJSON(t *testing.T) {
	dir := instance(t, "smtpd_relay_restrictions = permit\n", "smtp inet n - n - - smtpd\n")
	k := Knowledge{
		Parameters: []func(*param.Set){new(param.Common).Params, func(s *param.Set) {
			var text string
			s.Str(&text, "smtpd_relay_restrictions", "")
		}},
		Listen:  func(string) error { return nil },
		Unknown: func(*maincf.Config, []string) []string { return nil },
	}
	var out, errs bytes.Buffer
	if status := Main([]string{"check", "--json", "-c", dir}, &out, &errs, k); status != 1 {
		t.Errorf("status %d, want 1: %s", status, errs.String())
	}
	var got []Finding
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 || got[0].Line != 4 || got[0].Parameter != "smtpd_relay_restrictions" || got[0].Service != "smtp/inet" {
		t.Errorf("got %+v", got)
	}
	if status := Main([]string{"check", "--frob"}, &out, &errs, k); status != 64 {
		t.Errorf("status %d for an unknown option, want 64", status)
	}
}

func TestPolicy(t *testing.T) {
	const login = "smtpd_sasl_auth_enable = yes\n"
	const clear = "warning: main.cf, line 4: passwords may cross the network in the clear: logging in without TLS is allowed (service smtp/inet); set smtpd_tls_auth_only = yes"
	for _, tt := range []struct{ name, main, master, want string }{
		{"a domain in two classes", "mydestination = a.example, b.example\nvirtual_mailbox_domains = c.example, B.example\n", smtpd,
			"error: main.cf, line 5: b.example is a domain of both mydestination and virtual_mailbox_domains; list each domain once: they differ in who its recipients are and in how they are delivered to"},
		{"a name without a dot", "myhostname = mail\n", smtpd,
			"warning: main.cf, line 4: overriding earlier entry: myhostname=mail.example.com; remove one of the two lines\n" +
				"warning: main.cf, line 4: myhostname is mail, a name that does not exist elsewhere; set myhostname to the full name that this system's address has in DNS"},
		{"in the clear", login, smtpd, clear},
		{"in the clear, on this machine", login, "127.0.0.1:587 inet n - n - - smtpd\n", ""},
		{"plain passwords refused", login + "smtpd_sasl_security_options = noanonymous, noplaintext\n", smtpd, ""},
		{"nobody", login + "smtpd_tls_auth_only = yes\n", smtpd,
			"error: main.cf, line 5: nobody can log in: smtpd_tls_auth_only = yes, but TLS is not offered (service smtp/inet); set smtpd_tls_security_level = may (or encrypt) and a certificate"},
		{"no Dovecot", login + "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n", "127.0.0.1:587 inet n - n - - smtpd\n",
			"warning: main.cf, line 6: smtpd_sasl_path: private/auth, below the queue directory: no such file or directory (service 127.0.0.1:587/inet); start Dovecot, with a unix_listener at this place in its service auth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(look(t, instance(t, tt.main, tt.master)), "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// Every value that cannot be read is told of, not only the first.
func TestBadValues(t *testing.T) {
	dir := instance(t, "", "smtp inet n - n - - smtpd -o a_timeout=1q\n2525 inet n - n - - smtpd\n")
	write(t, dir+"/main.cf", "myhostname = a.example\nqueue_directory = "+dir+"\ndaemon_directory = "+dir+"\na_limit = x\na_timeout = 2q\n", 0o644)
	k := Knowledge{
		Programs: []service.Program{{Name: "smtpd", New: func() service.Service { return fake{} }}},
		Parameters: []func(*param.Set){new(param.Common).Params, fake{}.Params, func(s *param.Set) {
			var text string
			s.Str(&text, "smtpd_relay_restrictions", "reject")
		}},
		Listen:  func(string) error { return nil },
		Unknown: func(*maincf.Config, []string) []string { return nil },
	}
	var got []string
	for _, f := range Configuration(dir, k) {
		got = append(got, strings.ReplaceAll(f.String(), dir+"/", ""))
	}
	want := []string{
		"main.cf, line 4: the service would not start: bad numerical configuration: a_limit = x (service smtp/inet); \"postern explain a_limit\" says what it takes",
		"main.cf, line 5: the service would not start: parameter a_timeout: bad time value or unit: 2q (service 2525/inet); \"postern explain a_timeout\" says what it takes",
		"master.cf, line 1: the service would not start: parameter a_timeout: bad time value or unit: 1q (service smtp/inet); \"postern explain a_timeout\" says what it takes",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// fake is a service with two parameters.
type fake struct{}

func (fake) Params(s *param.Set) {
	var n int
	var d time.Duration
	s.Int(&n, "a_limit", 1)
	s.Time(&d, "a_timeout", "1s")
}
func (fake) Open(*service.Env) error               { return nil }
func (fake) Serve(context.Context, net.Conn) error { return nil }
