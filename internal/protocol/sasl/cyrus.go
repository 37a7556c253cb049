package sasl

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// A CyrusConfig is what an application's file of the Cyrus library says
// (smtpd.conf).
type CyrusConfig struct {
	File          string   // where it was found; "" when there is none
	Method        string   // pwcheck_method: "saslauthd", "auxprop"
	Plugin        string   // auxprop_plugin: "sasldb"
	Mechanisms    []string // mech_list; none: all
	SaslauthdPath string
	SASLDBPath    string
}

// cyrusDirectories is where the library looks, after what
// cyrus_sasl_config_path says. Debian's Postfix looks below /etc/postfix first.
func cyrusDirectories(configDirectory string) []string {
	return []string{filepath.Join(configDirectory, "sasl"), "/etc/sasl2", "/usr/lib/sasl2", "/usr/local/lib/sasl2"}
}

// LoadCyrusConfig finds and reads name.conf. path is cyrus_sasl_config_path.
func LoadCyrusConfig(name, path, configDirectory string) (CyrusConfig, error) {
	c := CyrusConfig{Method: "auxprop", Plugin: "sasldb", SaslauthdPath: "/var/run/saslauthd/mux", SASLDBPath: "/etc/sasldb2"}
	if !filepath.IsLocal(name) {
		return c, fmt.Errorf("smtpd_sasl_path = %s: with smtpd_sasl_type = cyrus it is the name of a configuration file, without directory and .conf", name)
	}
	dirs := cyrusDirectories(configDirectory)
	if path != "" {
		dirs = filepath.SplitList(path)
	}
	for _, dir := range dirs {
		file := filepath.Join(dir, name+".conf")
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return c, err
		}
		defer f.Close()
		c.File = file
		return c, c.read(bufio.NewScanner(f))
	}
	return c, nil
}

// read takes lines "word: value".
func (c *CyrusConfig) read(sc *bufio.Scanner) error {
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		word, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%s, line %d: want \"word: value\"", c.File, n)
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "pwcheck_method":
			c.Method = strings.ToLower(value)
		case "auxprop_plugin":
			c.Plugin = strings.ToLower(value)
		case "mech_list":
			c.Mechanisms = strings.Fields(value)
		case "saslauthd_path":
			c.SaslauthdPath = value
		case "sasldb_path":
			c.SASLDBPath = value
		}
	}
	return sc.Err()
}

// A PropertyLookup finds a user's plain text password in the user database;
// the key is user NUL realm NUL "userPassword".
type PropertyLookup func(ctx context.Context, key string) (string, bool, error)

// Cyrus is the setting of the Cyrus library (smtpd_sasl_type = cyrus).
type Cyrus struct {
	config  CyrusConfig
	realm   string // smtpd_sasl_local_domain
	host    string // stands for the realm of a user database where there is none
	daemon  *Saslauthd
	lookup  PropertyLookup
	key     [32]byte
	timeout time.Duration
}

// NewCyrus returns the service. openDB opens the user database; it is called
// where the configuration asks for that.
func NewCyrus(c CyrusConfig, realm, host string, timeout time.Duration, openDB func(path string) (PropertyLookup, error)) (*Cyrus, error) {
	s := &Cyrus{config: c, realm: realm, host: host, timeout: timeout}
	if _, err := rand.Read(s.key[:]); err != nil {
		return nil, err
	}
	file := c.File
	if file == "" {
		file = "the Cyrus SASL configuration, which was not found,"
	}
	for method := range strings.FieldsSeq(c.Method) {
		switch {
		case method == "saslauthd":
			path := c.SaslauthdPath
			if filepath.Base(path) != "mux" {
				path = filepath.Join(path, "mux")
			}
			s.daemon = &Saslauthd{Path: path, Timeout: timeout}
		case method == "auxprop" && (c.Plugin == "" || c.Plugin == "sasldb"):
			var err error
			if s.lookup, err = openDB(c.SASLDBPath); err != nil {
				return nil, fmt.Errorf("%s: pwcheck_method auxprop: user database: %w; other ways: pwcheck_method: saslauthd, or smtpd_sasl_type = dovecot or postern", file, err)
			}
		case method == "auxprop":
			return nil, fmt.Errorf("%s: auxprop_plugin %s is not supported: use sasldb, pwcheck_method: saslauthd, or smtpd_sasl_type = dovecot or postern", file, c.Plugin)
		default:
			return nil, fmt.Errorf("%s: pwcheck_method %s is not supported: use saslauthd or auxprop", file, method)
		}
	}
	return s, nil
}

// Mechanisms are those of mech_list that can be had: with the passwords at
// hand there are more.
func (s *Cyrus) Mechanisms(context.Context) ([]Mechanism, error) {
	list := []Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}}
	if s.lookup != nil {
		list = append(list, Mechanism{Name: schemeSCRAM256, MutualAuth: true}, Mechanism{Name: schemeSCRAM1, MutualAuth: true},
			Mechanism{Name: "CRAM-MD5", Dictionary: true, Active: true})
	}
	return filter(list, s.config.Mechanisms), nil
}

// Start begins a dialogue.
func (s *Cyrus) Start(ctx context.Context, mech string, p Peer, initial string, hasInitial bool) (Dialogue, Result, error) {
	switch mech {
	case "PLAIN", "LOGIN":
		return startPassword(ctx, mech, p, s.check, initial, hasInitial)
	case schemeSCRAM256:
		return startSCRAM(ctx, scram.SHA256, s.scram(scram.SHA256), initial, hasInitial)
	case schemeSCRAM1:
		return startSCRAM(ctx, scram.SHA1, s.scram(scram.SHA1), initial, hasInitial)
	case "CRAM-MD5":
		if hasInitial {
			return nil, failed("malformed CRAM-MD5 message"), nil // RFC 2195: the server begins
		}
		find := func(ctx context.Context, user string) (string, string, bool, error) {
			name := qualified(user, s.realm)
			password, found, err := s.password(ctx, name)
			return name, password, found, err
		}
		d := &cramMD5{find: find, challenge: fmt.Sprintf("<%s.%d@%s>", rand.Text(), time.Now().Unix(), s.host)}
		return d, Result{Outcome: Continue, Text: challenge(d.challenge)}, nil
	}
	return nil, failed("Invalid authentication mechanism"), nil
}

// Close does nothing.
func (s *Cyrus) Close() error { return nil }

// check asks one way after the other.
func (s *Cyrus) check(ctx context.Context, p Peer, user, password string) (string, bool, error) {
	name := qualified(user, s.realm)
	var trouble error
	if s.lookup != nil {
		stored, found, err := s.password(ctx, name)
		if ok := hmac.Equal([]byte(stored), []byte(password)); ok && found && err == nil {
			return name, true, nil
		}
		trouble = err
	}
	if s.daemon != nil {
		ok, err := s.daemon.Check(ctx, name, password, p.Service, "")
		if err == nil {
			return name, ok, nil
		}
		trouble = err
	}
	return name, false, trouble
}

// password finds the password of a qualified name.
func (s *Cyrus) password(ctx context.Context, name string) (string, bool, error) {
	user, realm := name, s.host
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		user, realm = name[:i], name[i+1:]
	}
	return s.lookup(ctx, user+"\x00"+realm+"\x00userPassword")
}

// cyrusIterations are those of credentials that are made for one dialogue.
const cyrusIterations = 4096

func (s *Cyrus) scram(hash scram.HashGeneratorFcn) lookupSCRAM {
	return func(ctx context.Context, user string) (string, scram.StoredCredentials, bool, error) {
		name := qualified(user, s.realm)
		c := madeUp(s.key[:], hash, name, cyrusIterations)
		password, found, err := s.password(ctx, name)
		stored, server, kerr := scramKeys(hash, prepared(password), []byte(c.Salt), c.Iters)
		if err != nil || !found || kerr != nil {
			return name, c, false, errors.Join(err, kerr)
		}
		c.StoredKey, c.ServerKey = stored, server
		return name, c, true, nil
	}
}

// cramMD5 is the mechanism CRAM-MD5 (RFC 2195).
type cramMD5 struct {
	find      func(ctx context.Context, user string) (name, password string, found bool, err error)
	challenge string
}

func (d *cramMD5) Next(ctx context.Context, answer string) (Result, error) {
	text, err := base64.StdEncoding.DecodeString(answer)
	i := strings.LastIndexByte(string(text), ' ')
	if err != nil || i < 1 {
		return failed("malformed CRAM-MD5 message"), nil
	}
	user := string(text[:i])
	name, password, found, err := d.find(ctx, user)
	m := hmac.New(md5.New, []byte(password))
	m.Write([]byte(d.challenge))
	ok := hmac.Equal([]byte(hex.EncodeToString(m.Sum(nil))), text[i+1:])
	return loginResult(name, user, ok && found, err)
}

func (d *cramMD5) Cancel() {}
