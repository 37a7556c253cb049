package postfix

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/admin/command"
)

// clientSettings and serverSettings are what must not be set in main.cf for TLS
// to be turned on by itself.
var (
	clientSettings = []string{"smtp_use_tls", "smtp_enforce_tls", "smtp_tls_enforce_peername", "smtp_tls_security_level",
		"smtp_tls_cert_file", "smtp_tls_dcert_file", "smtp_tls_eccert_file", "smtp_tls_chain_files"}
	serverSettings = []string{"smtpd_use_tls", "smtpd_enforce_tls", "smtpd_tls_security_level",
		"smtpd_tls_cert_file", "smtpd_tls_dcert_file", "smtpd_tls_eccert_file", "smtpd_tls_chain_files"}
)

// errQuiet ends a command with a status only.
var errQuiet = errors.New("")

// tlsCommands are the subcommands with their arguments.
var tlsCommands = []struct {
	name, usage, options string
	run                  func(*postfix, *tlsOptions) error
}{
	{"enable-client", "[-r randsource]", "r:", (*postfix).enableClient},
	{"enable-server", "[-r randsource] [-a algorithm] [-b bits] [hostname ...]", "r:a:b:", (*postfix).enableServer},
	{"new-server-key", "[-a algorithm] [-b bits] [hostname ...]", "a:b:", (*postfix).newServerKey},
	{"new-server-cert", "[-a algorithm] [-b bits] [hostname ...]", "a:b:", (*postfix).newServerCert},
	{"deploy-server-cert", "certfile keyfile", "", (*postfix).deployServerCert},
	{"output-server-csr", "[-k keyfile] [hostname ...]", "k:", (*postfix).outputServerCSR},
	{"output-server-tlsa", "[-h hostname] [keyfile ...]", "h:", (*postfix).outputServerTLSA},
	{"all-default-client", "", "", (*postfix).allDefaultClient},
	{"all-default-server", "", "", (*postfix).allDefaultServer},
}

// tlsOptions is the command line of a subcommand.
type tlsOptions struct {
	usage string
	given map[byte]string
	args  []string
}

// expect refuses a number of arguments that the subcommand does not take.
func (o *tlsOptions) expect(n int) error {
	if len(o.args) != n {
		return errors.New(o.usage)
	}
	return nil
}

// algorithm returns the kind of key and its parameters that -a and -b ask for.
func (o *tlsOptions) algorithm() (algorithm, string, error) {
	name := o.given['a']
	if name == "" {
		name = "rsa"
	}
	a, err := findAlgorithm(name)
	params := o.given['b']
	if params == "" {
		params = a.defaultParams
	}
	return a, params, err
}

// tls turns TLS on, and manages keys and certificates of the SMTP server.
// Postfix: postfix-tls(1).
func (p *postfix) tls(args []string) int {
	var names []string
	for _, c := range tlsCommands {
		names = append(names, c.name)
		if len(args) == 0 || args[0] != c.name {
			continue
		}
		o := &tlsOptions{usage: strings.TrimSpace("usage: postfix tls " + c.name + " " + c.usage), given: make(map[byte]string)}
		rest, err := command.Getopt(args[1:], c.options, func(option byte, arg string) error {
			o.given[option] = arg
			return nil
		})
		if err != nil {
			return p.fatal("%s", o.usage)
		}
		o.args = rest
		if err := c.run(p, o); err == errQuiet {
			return command.Failure
		} else if err != nil {
			return p.fatal("%v", err)
		}
		return command.OK
	}
	if len(args) > 0 {
		p.log.Errorf("unknown tls command: '%s'", args[0])
	}
	return p.fatal("usage: postfix tls %s (or %s)", names[0], strings.Join(names[1:], ", "))
}

// setting returns the value that main.cf gives to a parameter, "" for none.
func (p *postfix) setting(name string) string {
	value, _ := p.Settings()(name)
	return value
}

// firstSet returns the first parameter of the list that main.cf gives a value.
func (p *postfix) firstSet(list []string) string {
	for _, name := range list {
		if p.setting(name) != "" {
			return name
		}
	}
	return ""
}

func (p *postfix) allDefaultClient(o *tlsOptions) error { return p.allDefault(o, clientSettings) }
func (p *postfix) allDefaultServer(o *tlsOptions) error { return p.allDefault(o, serverSettings) }

func (p *postfix) allDefault(o *tlsOptions, list []string) error {
	if err := o.expect(0); err != nil {
		return err
	}
	if p.firstSet(list) != "" {
		return errQuiet
	}
	return nil
}

// edit changes main.cf, all settings at once.
func (p *postfix) edit(settings ...string) error {
	if status := p.program("postconf", append([]string{"-q", "-c", p.Common.ConfigDirectory, "-e"}, settings...)...); status != 0 {
		return fmt.Errorf("could not change %s", filepath.Join(p.Common.ConfigDirectory, "main.cf"))
	}
	return nil
}

func (p *postfix) say(lines ...string) {
	for _, l := range lines {
		p.log.Infof("%s", l)
	}
}

const reloadHint = "to have the new settings in effect at once, run: postfix reload"

func (p *postfix) enableClient(o *tlsOptions) error {
	if err := o.expect(0); err != nil {
		return err
	}
	typical := []string{"smtp_tls_security_level = may", "smtp_tls_loglevel = 1"}
	if name := p.firstSet(clientSettings); name != "" {
		p.say("nothing was changed: "+name+" is set already; for opportunistic TLS in the SMTP client these settings are typical:",
			"  "+typical[0], "  "+typical[1])
		return nil
	}
	if err := p.edit(append(typical, o.random()...)...); err != nil {
		return err
	}
	p.say("enabled opportunistic TLS in the SMTP client", reloadHint)
	return nil
}

// random is the setting that -r asks for.
func (o *tlsOptions) random() []string {
	if r := o.given['r']; r != "" {
		return []string{"tls_random_source = " + r}
	}
	return nil
}

func (p *postfix) enableServer(o *tlsOptions) error {
	a, params, err := o.algorithm()
	if err != nil {
		return err
	}
	typical := []string{"smtpd_tls_security_level = may", "smtpd_tls_received_header = yes", "smtpd_tls_loglevel = 1"}
	if name := p.firstSet(serverSettings); name != "" {
		p.say("nothing was changed: "+name+" is set already; for opportunistic TLS in the SMTP server these settings are typical:",
			"  "+typical[0], "  "+typical[2],
			"for a new certificate, run: postfix tls new-server-cert; with a new key, too: postfix tls new-server-key",
			"keys that TLSA records name change in steps: RFC 7671, section 8")
		return nil
	}
	key, err := a.generate(params)
	if err != nil {
		return err
	}
	certFile, keyFile, err := p.writePair(a, key, o.args)
	if err != nil {
		return err
	}
	if err := p.deploy(certFile, keyFile, append(typical, o.random()...)...); err != nil {
		return err
	}
	p.say("enabled opportunistic TLS in the SMTP server, with a new key and a certificate signed by it", reloadHint)
	p.sayRequests(certFile, keyFile)
	return nil
}

// names are the host names that a certificate is for.
func (p *postfix) names(args []string) []string {
	if len(args) == 0 {
		return []string{p.Common.MyHostname}
	}
	return args
}

// writePair writes a key and a certificate that it signs itself into the
// configuration directory.
func (p *postfix) writePair(a algorithm, key crypto.Signer, names []string) (certFile, keyFile string, err error) {
	now := time.Now().UTC()
	keyText, err1 := encodeKey(key)
	certText, err2 := selfSigned(key, p.names(names), now)
	if err := errors.Join(err1, err2); err != nil {
		return "", "", err
	}
	end := now.Format("20060102-150405") + ".pem"
	keyFile = filepath.Join(p.Common.ConfigDirectory, a.prefix+"key-"+end)
	certFile = filepath.Join(p.Common.ConfigDirectory, a.prefix+"cert-"+end)
	if err := create(keyFile, keyText, 0o600); err != nil {
		return "", "", err
	}
	if err := create(certFile, certText, 0o644); err != nil {
		os.Remove(keyFile)
		return "", "", err
	}
	return certFile, keyFile, nil
}

func (p *postfix) newServerKey(o *tlsOptions) error {
	a, params, err := o.algorithm()
	if err != nil {
		return err
	}
	key, err := a.generate(params)
	if err != nil {
		return err
	}
	return p.newPair(a, key, o.args, true)
}

// newServerCert makes a new certificate for the key that is in use, if there is
// one.
func (p *postfix) newServerCert(o *tlsOptions) error {
	a, params, err := o.algorithm()
	if err != nil {
		return err
	}
	file := p.keyFile(a.name)
	if _, err := os.Stat(file); file != "" && os.IsNotExist(err) {
		p.log.Warningf("key file %s not found: making a new key", file)
		file = ""
	}
	if file == "" {
		key, err := a.generate(params)
		if err != nil {
			return err
		}
		return p.newPair(a, key, o.args, true)
	}
	key, err := readKey(file)
	if err != nil {
		return err
	}
	if got, err := algorithmOf(key); err != nil || got.name != a.name {
		return fmt.Errorf("the key in %s is not of the algorithm %s", file, a.name)
	}
	return p.newPair(a, key, o.args, false)
}

// newPair writes a key and its certificate, and says how to have them in use.
func (p *postfix) newPair(a algorithm, key crypto.Signer, names []string, fresh bool) error {
	certFile, keyFile, err := p.writePair(a, key, names)
	if err != nil {
		return err
	}
	p.say("made a private key and a certificate that it signs itself; to have them in use, run: postfix tls deploy-server-cert " + certFile + " " + keyFile)
	p.sayRequests(certFile, keyFile)
	if fresh {
		p.say("where TLSA records name the key, change these first, and wait until the old ones have expired")
	}
	return nil
}

func (p *postfix) sayRequests(certFile, keyFile string) {
	p.say("to have it signed by an authority, run: postfix tls output-server-csr -k "+keyFile+" [hostname ...]; save the chain that you get in "+certFile,
		"to publish it in the DNS, run: postfix tls output-server-tlsa [-h hostname] "+keyFile)
}

// absolute completes the name of a file in the configuration directory.
func (p *postfix) absolute(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Common.ConfigDirectory, name)
}

// keyFile returns the file that name means: that of an algorithm in use, or
// itself; "" for none.
func (p *postfix) keyFile(name string) string {
	if a, err := findAlgorithm(name); err == nil {
		if name = p.setting(a.key); name == "" {
			name = p.setting(a.cert)
		}
	}
	if name == "" || name == "none" {
		return ""
	}
	return p.absolute(name)
}

func (p *postfix) deployServerCert(o *tlsOptions) error {
	if err := o.expect(2); err != nil {
		return err
	}
	if err := p.deploy(p.absolute(o.args[0]), p.absolute(o.args[1])); err != nil {
		return err
	}
	p.say("the new key and certificate are in main.cf", reloadHint)
	return nil
}

// deploy has main.cf name a certificate and its key.
func (p *postfix) deploy(certFile, keyFile string, more ...string) error {
	if p.setting("smtpd_tls_chain_files") != "" {
		return fmt.Errorf("smtpd_tls_chain_files is set, which the server uses and not single files; name the new files there: %s, %s", keyFile, certFile)
	}
	key, err := readKey(keyFile)
	if err != nil {
		return err
	}
	a, err := algorithmOf(key)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	cert, err := readCertificate(certFile)
	if err != nil {
		return err
	}
	of, err1 := keyDigest(cert.PublicKey)
	is, err2 := keyDigest(key.Public())
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !bytes.Equal(of, is) {
		return fmt.Errorf("the certificate in %s does not match the key in %s", certFile, keyFile)
	}
	return p.edit(append([]string{a.key + " = " + keyFile, a.cert + " = " + certFile}, more...)...)
}

func (p *postfix) outputServerCSR(o *tlsOptions) error {
	candidates := []string{"rsa", "ecdsa"}
	if k := o.given['k']; k != "" {
		candidates = []string{k}
	}
	for _, c := range candidates {
		file := p.keyFile(c)
		if file == "" {
			continue
		}
		key, err := readKey(file)
		if err != nil {
			return err
		}
		text, err := request(key, p.names(o.args))
		if err != nil {
			return err
		}
		_, err = p.Out.Write(text)
		return err
	}
	return errors.New("no key file is named or configured; name one with -k")
}

func (p *postfix) outputServerTLSA(o *tlsOptions) error {
	host := o.given['h']
	if host == "" {
		host = p.Common.MyHostname
	}
	files := o.args
	if len(files) == 0 {
		files = []string{"rsa", "ecdsa"}
	}
	found := false
	for _, f := range files {
		file := p.keyFile(f)
		if file == "" {
			continue
		}
		key, err := readKey(file)
		if err != nil {
			return err
		}
		digest, err := keyDigest(key.Public())
		if err != nil {
			return err
		}
		fmt.Fprintf(p.Out, "; %s\n_25._tcp.%s. IN TLSA 3 1 1 %x\n", file, host, digest)
		found = true
	}
	if !found {
		return errors.New("no key file is named or configured")
	}
	return nil
}
