package trivialrewrite

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/rewrite"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/system"
)

type source map[string]string

func (s source) Lookup(name string) (string, string, bool) {
	v, ok := s[name]
	return v, "main.cf", ok
}

func open(t testing.TB, conf string) *Server {
	t.Helper()
	src := source{"compatibility_level": "3.6", "smtputf8_enable": "no"}
	for _, line := range strings.Split(conf, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			src[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	var common param.Common
	var s Server
	set := param.NewSet()
	common.Params(set)
	if err := set.Load(src); err != nil {
		t.Fatal(err)
	}
	set = param.NewSet()
	common.Params(set)
	s.Params(set)
	if err := set.Load(src); err != nil {
		t.Fatal(err)
	}
	o := table.NewOpener(append(system.Types(), inline.Type()))
	if err := s.Open(&service.Env{Common: &common, Log: maillog.Discard(), Tables: o}); err != nil {
		t.Fatal(err)
	}
	return &s
}

// The expected answers were given by Postfix's trivial-rewrite.
func TestRequests(t *testing.T) {
	b, err := os.ReadFile("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split("\n"+string(b), "\n== ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		conf, requests, _ := strings.Cut(rest, "--\n")
		t.Run(name, func(t *testing.T) {
			s := open(t, conf)
			for _, line := range strings.Split(strings.TrimSpace(requests), "\n") {
				request, want, _ := strings.Cut(line, " => ")
				if got := ask(t, s, request); got != want {
					t.Errorf("%s:\ngot  %s\nwant %s", request, got, want)
				}
			}
		})
	}
}

func ask(t *testing.T, s *Server, request string) string {
	f := strings.Split(request, "|")
	req := rewrite.Request{Kind: f[0], Sender: f[1], Address: f[len(f)-1]}
	if len(f) == 2 {
		req = rewrite.Request{Kind: "rewrite", Ruleset: f[0], Address: f[1]}
	}
	reply, err := s.answer(context.Background(), &req)
	if err != nil {
		t.Fatal(err)
	}
	switch r := reply.(type) {
	case *rewrite.Rewritten:
		return r.Address
	case *rewrite.Reply:
		return fmt.Sprintf("%s|%s|%s|%d", r.Transport, r.Nexthop, r.Recipient, r.Flags)
	}
	return ""
}

func FuzzResolve(f *testing.F) {
	for _, addr := range []string{"", "a@b", `"a@b"@example.com`, "@a,@b:c@d", "a%b%c!d@[1.2.3.4", "\\", "@@@@", "(((", `"`} {
		f.Add(addr)
	}
	s := open(f, "myhostname=example.com\nmydestination=example.com,a,b\ninet_interfaces=127.0.0.1\nrecipient_delimiter=+")
	f.Fuzz(func(t *testing.T, addr string) {
		if len(addr) > 1000 {
			return
		}
		r := s.Resolve(context.Background(), s.resolve, "", addr)
		if r.Flags&rewrite.Fail != 0 {
			t.Errorf("%q: %+v", addr, r)
		}
		s.local.Rewrite(addr)
	})
}
