package neighbours

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/test/harness"
)

// slapdConf is a server with a schema like that of mail systems in directories.
const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.4203.666.1.901 NAME 'mailacceptinggeneralid' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.4203.666.1.902 NAME 'maildrop' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.4203.666.1.903 NAME 'memberaddr' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.4203.666.1.904 NAME 'memberdn' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.4203.666.2.901 NAME 'mailThing' AUXILIARY MAY ( mailacceptinggeneralid $ maildrop $ memberaddr $ memberdn $ mail ) )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile @DIR@/pid
TLSCACertificateFile @DIR@/cert.pem
TLSCertificateFile @DIR@/cert.pem
TLSCertificateKeyFile @DIR@/cert.pem
database mdb
maxsize 10485760
suffix "dc=example,dc=com"
directory @DIR@/data
rootdn "cn=admin,dc=example,dc=com"
rootpw secret
dbnosync
access to dn.subtree="ou=closed,dc=example,dc=com" by dn.exact="cn=reader,dc=example,dc=com" read
  by dn.exact="gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth" read by * none
access to attrs=userPassword by * auth
access to * by * read
`

// entry is an LDIF entry below ou=people.
func person(cn string, lines ...string) string {
	return "dn: cn=" + cn + ",ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nobjectClass: mailThing\nsn: x\n" + strings.Join(lines, "\n") + "\n\n"
}

func directory() string {
	var b strings.Builder
	b.WriteString(`dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=reader,dc=example,dc=com
objectClass: person
sn: reader
userPassword: read, "me"

`)
	for _, ou := range []string{"people", "groups", "closed", "example.com"} {
		b.WriteString("dn: ou=" + ou + ",dc=example,dc=com\nobjectClass: organizationalUnit\n\n")
	}
	people := ",ou=people,dc=example,dc=com"
	b.WriteString(person("john", "mail: john@example.com", "mailacceptinggeneralid: john", "maildrop: john@mailhost.example", "telephoneNumber: 1"))
	b.WriteString(person("sue", "mail: sue@example.com", "mail: susan@example.com", "maildrop: sue@mailhost.example", "maildrop: sue@backup.example"))
	b.WriteString(person("o\\28brien\\29", "mail: o'brien(x)@example.com", "maildrop: paren"))
	b.WriteString(person("star", "mail: *@example.com", "maildrop: star"))
	b.WriteString(person("back", `mail: back\slash@example.com`, "maildrop: backslash"))
	b.WriteString(person("juergen", "cn: jürgen", "mail: juergen@example.com", "maildrop: jürgen@example.com"))
	b.WriteString(person("none", "mail: none@example.com"))
	b.WriteString(person("noqual", "mail: noqual@example.com", "maildrop: localuser"))
	group := func(cn string, lines ...string) {
		b.WriteString("dn: cn=" + cn + ",ou=groups,dc=example,dc=com\nobjectClass: person\nobjectClass: mailThing\nsn: x\nmail: " + cn + "@example.com\n" + strings.Join(lines, "\n") + "\n\n")
	}
	group("team", "memberdn: cn=john"+people, "memberdn: cn=sue"+people, "memberaddr: extern@other.example")
	group("nested", "memberdn: cn=team,ou=groups,dc=example,dc=com", "memberdn: cn=noqual"+people)
	group("loop", "memberdn: cn=loop2,ou=groups,dc=example,dc=com")
	group("loop2", "memberdn: cn=loop,ou=groups,dc=example,dc=com")
	group("dangling", "memberdn: cn=gone"+people, "memberdn: cn=john"+people)
	group("broken", "memberdn: not a name", "memberaddr: a@b.example")
	group("url", "memberdn: ldap:///ou=people,dc=example,dc=com?mail?sub?(sn=x)")
	group("url2", "memberdn: ldap://ignored.example/ou=people,dc=example,dc=com??one?(mail=s*)")
	group("url3", "memberdn: ldap:///cn=john,ou=people,dc=example,dc=com?telephoneNumber")
	group("url4", "memberdn: ldap:///ou=groups,dc=example,dc=com?memberdn,mail?sub?(cn=team)")
	group("url5", "memberdn: ldap:///ou=people,dc=example,dc=com?maildrop?sub?(&(sn=x)(mail=john@example.com))")
	group("terminal", "maildrop: list@lists.example", "memberdn: cn=john"+people)
	b.WriteString("dn: cn=secret,ou=closed,dc=example,dc=com\nobjectClass: person\nobjectClass: mailThing\nsn: x\nmail: secret@example.com\nmaildrop: hidden\n\n")
	b.WriteString("dn: cn=deep,ou=example.com,dc=example,dc=com\nobjectClass: person\nobjectClass: mailThing\nsn: x\nmail: deep@example.com\nmaildrop: in its own place\n\n")
	return b.String()
}

// slapd starts an OpenLDAP server; it returns the certificate, too.
func slapd(t testing.TB) (s *server, cert string) {
	s = newServer(t, "slapd", "slapd", "slapadd")
	cert = harness.Certificate(t, "localhost")
	for name, text := range map[string]string{"slapd.conf": strings.ReplaceAll(slapdConf, "@DIR@", s.dir), "cert.pem": cert} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.run("", "mkdir", "data")
	s.run(directory(), "slapadd", "-q", "-f", "slapd.conf")
	s.args = []string{"slapd", "-f", "slapd.conf", "-h", "ldap://127.0.0.1:" + strconv.Itoa(s.port) + " ldapi://" + url.PathEscape(s.dir+"/ldapi"), "-d", "0"}
	s.start()
	return s, cert
}

// ldapTables are the tables of the test, below the parameters of the server.
var ldapTables = map[string]string{
	"default":    "",
	"mail":       "query_filter = mail=%s\n",
	"both":       "query_filter = (& (objectClass=mailThing)\n  ( | (mail=%s) (mailacceptinggeneralid=%u) ) )\nresult_attribute = maildrop, mail\n",
	"attribute":  "query_filter = (mail=%s)\nresult_attribute = mail\n",
	"case":       "query_filter = (MAIL=%s)\nresult_attribute = MAILDROP\n",
	"format":     "query_filter = (mail=%s)\nresult_format = smtp:[%d]:%u\n",
	"filter":     "query_filter = (mail=%s)\nresult_filter = <%s>\n",
	"key":        "query_filter = (mail=%s)\nresult_format = %U+%s/%1\n",
	"base":       "query_filter = (mail=%s)\nsearch_base = ou=%d,dc=example,dc=com\n",
	"base-user":  "query_filter = (objectClass=*)\nsearch_base = cn=%u,ou=people,dc=example,dc=com\nscope = base\n",
	"one":        "query_filter = (mail=%s)\nscope = one\n",
	"domain":     "query_filter = (mail=%s)\ndomain = example.com\n",
	"limit":      "query_filter = (mail=%s)\nexpansion_limit = 1\n",
	"size":       "query_filter = (sn=%s)\nsize_limit = 2\n",
	"special":    "query_filter = (mail=%s)\nresult_attribute = maildrop\nspecial_result_attribute = memberdn\n",
	"special-2":  "query_filter = (mail=%s)\nresult_attribute = memberaddr\nspecial_result_attribute = memberdn\nleaf_result_attribute = mail\n",
	"special-3":  "query_filter = (mail=%s)\nresult_attribute = mail\nspecial_result_attribute = memberdn\nterminal_result_attribute = maildrop\n",
	"special-4":  "query_filter = (mail=%s)\nresult_attribute =\nspecial_result_attribute = memberdn\nleaf_result_attribute = mail\nterminal_result_attribute = memberaddr\n",
	"special-5":  "query_filter = (mail=%s)\nresult_attribute = telephoneNumber\nspecial_result_attribute = memberdn\nrecursion_limit = 2\n",
	"no-base":    "query_filter = (mail=%s)\nsearch_base = ou=gone,dc=example,dc=com\n",
	"other-base": "query_filter = (mail=%s)\nsearch_base = dc=elsewhere\n",
	"bad-filter": "query_filter = (mail=%s\n",
	"closed":     "query_filter = (mail=%s)\nsearch_base = ou=closed,dc=example,dc=com\n",
	"reader":     "query_filter = (mail=%s)\nsearch_base = ou=closed,dc=example,dc=com\nbind_dn = cn=reader,dc=example,dc=com\nbind_pw = read, \"me\"\n",
	"wrong-pw":   "query_filter = (mail=%s)\nbind_dn = cn=reader,dc=example,dc=com\nbind_pw = wrong\n",
	"no-bind":    "query_filter = (mail=%s)\nbind = no\n",
	"tls":        "query_filter = (mail=%s)\nstart_tls = yes\ntls_require_cert = yes\ntls_ca_cert_file = @DIR@/etc/cert.pem\n",
	"tls-any":    "query_filter = (mail=%s)\nstart_tls = yes\n",
}

var ldapKeys = []string{
	"john@example.com", "JOHN@EXAMPLE.COM", "john", "sue@example.com", "susan@example.com", "nobody@example.com", "none@example.com", "noqual@example.com",
	"o'brien(x)@example.com", "*@example.com", "*", "j*@example.com", "(", ")", "john)(mail=*", "*)(|(mail=*", "x)(&(mail=*)", `back\slash@example.com`, `\2a`, `\`,
	"juergen@example.com", "jürgen", "jürgen@example.com", "team@example.com", "nested@example.com", "dangling@example.com", "url@example.com", "url2@example.com",
	"url3@example.com", "url4@example.com", "url5@example.com", "terminal@example.com", "secret@example.com", "deep@example.com", "@example.com", "example.com",
	"a,dc=example,dc=com", "john,ou=people,dc=example,dc=com", "john+sn=x@example.com", "cn=john@example.com", `"john"@example.com`, " john@example.com", "#john@example.com",
	"<john>@example.com", "a;b@example.com", "x", "\xff@example.com", "john@\xc3@example.com",
}

// fewKeys are asked of tables some of whose lookups fail. Postfix's TLS library
// does not take a certificate that signs itself.
var fewKeys = map[string][]string{
	"other-base": {"john@example.com"}, "no-base": {"john@example.com"}, "closed": {"secret@example.com"}, "bad-filter": {"john@example.com"},
	"wrong-pw": {"john@example.com"}, "tls": {}, "limit": {"john@example.com", "sue@example.com", "nobody@example.com"}, "size": {"x", "y"},
	"special-5": {"team@example.com", "url3@example.com", "nested@example.com"},
}

func TestLDAP(t *testing.T) {
	t.Parallel()
	s, cert := slapd(t)
	files := map[string]string{"cert.pem": cert}
	for name, text := range ldapTables {
		host := "127.0.0.1"
		if strings.Contains(text, "start_tls") {
			host = "localhost" // the name in the certificate
		}
		head := file("server_host", "ldap://"+host+":"+strconv.Itoa(s.port), "version", 3)
		if !strings.Contains(text, "search_base") {
			head += "search_base = dc=example,dc=com\n"
		}
		files["ldap-"+name+".cf"] = head + text
	}
	p := newPair(t, "old_server_host = 127.0.0.1:"+strconv.Itoa(s.port)+"\nold_search_base = dc=$mydomain_dc,dc=com\nmydomain_dc = example\nold_query_filter = (mail=%s)\nold_version = 3\n", files)
	for name := range ldapTables {
		// A lookup that fails costs Postfix a second.
		keys := ldapKeys
		if few, ok := fewKeys[name]; ok {
			keys = few
		}
		for len(keys) > 0 {
			n := len(keys)
			if _, ok := fewKeys[name]; ok {
				n = 1
			}
			p.compare("ldap", name, keys[:n], func(dir string) string { return "ldap:" + dir + "/etc/ldap-" + name + ".cf" })
			keys = keys[n:]
		}
	}
	for _, key := range []string{"loop@example.com", "broken@example.com"} {
		p.compare("ldap", "special-2", []string{key}, func(dir string) string { return "ldap:" + dir + "/etc/ldap-special-2.cf" })
	}
	p.compare("ldap", "main.cf", ldapKeys, func(string) string { return "ldap:old" })
	t.Logf("ldap: %d lookups compared", p.compared)
	// The certificate signs itself, which is enough for us.
	out, status := p.ours.Run("", "postmap", "-q", "john@example.com", "ldap:"+p.ours.Dir+"/etc/ldap-tls.cf")
	if status != 0 || out != "john@mailhost.example\n" {
		t.Errorf("tls: %q, status %d", out, status)
	}
	// Who may read is known by the socket; it is outside of the root.
	conf := p.ours.Host("etc/ldap-external.cf")
	if err := os.WriteFile(conf, []byte(file("server_host", "ldapi://"+url.PathEscape(s.dir+"/ldapi"), "bind", "sasl", "sasl_mechs", "EXTERNAL",
		"search_base", "ou=closed,dc=example,dc=com", "query_filter", "(mail=%s)")), 0o600); err != nil {
		t.Fatal(err)
	}
	postmap := exec.Command(p.ours.Root+p.ours.System.SbinDir+"/postmap", "-c", p.ours.Host("etc"), "-q", "secret@example.com", "ldap:"+conf)
	if out, err := postmap.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "hidden\n") {
		t.Errorf("external: %q, %v", out, err)
	}
	// Our own words.
	for name, want := range map[string]string{"wrong-pw": "Invalid Credentials", "size": "size_limit = 2"} {
		key := map[string]string{"wrong-pw": "john@example.com", "size": "x"}[name]
		out, status := p.ours.Run("", "postmap", "-q", key, "ldap:"+p.ours.Dir+"/etc/ldap-"+name+".cf")
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: %q, status %d", name, out, status)
		}
	}
	if p.compared < 900 {
		t.Errorf("only %d lookups", p.compared)
	}
}
