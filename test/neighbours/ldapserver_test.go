package neighbours

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A directory sends the client on: for a part of what it is asked for, and for
// all of it.
func TestReferrals(t *testing.T) {
	t.Parallel()
	second, _ := slapd(t)
	there := "ldap://127.0.0.1:" + strconv.Itoa(second.port)
	first := newServer(t, "slapd", "slapd", "slapadd")
	conf := strings.ReplaceAll(slapdConf, "@DIR@", first.dir)
	for _, name := range []string{"TLSCACertificateFile", "TLSCertificateFile", "TLSCertificateKeyFile"} {
		conf = strings.ReplaceAll(conf, name+" "+first.dir+"/cert.pem\n", "")
	}
	if err := os.WriteFile(filepath.Join(first.dir, "slapd.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	first.run("", "mkdir", "data")
	first.run(`dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ou=here,dc=example,dc=com
objectClass: organizationalUnit

`+strings.ReplaceAll(person("local", "mail: local@example.com", "maildrop: here"), "ou=people", "ou=here")+`
dn: ou=people,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: people
ref: `+there+`/ou=people,dc=example,dc=com

dn: ou=gone,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: gone
ref: ldap://127.0.0.1:1/ou=gone,dc=example,dc=com
`, "slapadd", "-q", "-f", "slapd.conf")
	first.args = []string{"slapd", "-f", "slapd.conf", "-h", "ldap://" + first.addr(), "-d", "0"}
	first.start()
	head := file("server_host", "ldap://"+first.addr(), "version", 3, "bind", "no", "query_filter", "(mail=%s)")
	p := newPair(t, "", map[string]string{
		"ldap-stay.cf":  head + file("search_base", "ou=here,dc=example,dc=com", "chase_referrals", "yes"),
		"ldap-chase.cf": head + file("search_base", "ou=people,dc=example,dc=com", "chase_referrals", "yes"),
		"ldap-not.cf":   head + file("search_base", "ou=people,dc=example,dc=com"),
		"ldap-gone.cf":  head + file("search_base", "ou=gone,dc=example,dc=com", "chase_referrals", "yes"),
	})
	for name, keys := range map[string][]string{
		"stay": {"local@example.com", "john@example.com"}, "chase": {"john@example.com", "sue@example.com", "nobody@example.com"},
		"not": {"john@example.com"}, "gone": {"john@example.com"},
	} {
		for _, key := range keys {
			p.compare("ldap", name, []string{key}, func(dir string) string { return "ldap:" + dir + "/etc/ldap-" + name + ".cf" })
		}
	}
	out, status := p.ours.Run("", "postmap", "-q", "john@example.com", "ldap:"+p.ours.Dir+"/etc/ldap-chase.cf")
	if out != "john@mailhost.example\n" || status != 0 {
		t.Errorf("chased: %q, status %d", out, status)
	}
}

// The password of DIGEST-MD5 does not cross the network.
func TestDigestMD5(t *testing.T) {
	t.Parallel()
	s, _ := slapd(t)
	s.kill()
	conf := filepath.Join(s.dir, "slapd.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	before := "sasl-host localhost\nsasl-secprops noanonymous\npassword-hash {CLEARTEXT}\nauthz-regexp uid=([^,]*),.*cn=auth cn=$1,dc=example,dc=com\n"
	if err := os.WriteFile(conf, append([]byte(before), text...), 0o644); err != nil {
		t.Fatal(err)
	}
	s.start()
	head := file("server_host", "ldap://localhost:"+strconv.Itoa(s.port), "version", 3, "bind", "sasl", "sasl_mechs", "DIGEST-MD5",
		"search_base", "ou=closed,dc=example,dc=com", "query_filter", "(mail=%s)")
	p := newPair(t, "", map[string]string{
		"ldap-md5.cf":   head + "bind_dn = reader\nbind_pw = read, \"me\"\n",
		"ldap-wrong.cf": head + "bind_dn = reader\nbind_pw = wrong\n",
	})
	for name, want := range map[string]string{"md5": "hidden\n", "wrong": "nvalid credentials"} {
		out, _ := p.ours.Run("", "postmap", "-q", "secret@example.com", "ldap:"+p.ours.Dir+"/etc/ldap-"+name+".cf")
		if !strings.Contains(strings.ToLower(out), strings.ToLower(want)) {
			t.Errorf("%s: got %q, want %q", name, out, want)
		}
	}
}
