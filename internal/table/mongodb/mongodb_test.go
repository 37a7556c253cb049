//go:build !nomongodb

package mongodb

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"postern/internal/base/maillog"
	"postern/internal/table"
	"postern/internal/table/database"
)

// A stub speaks as much of MongoDB's protocol as a search needs.
type stub struct {
	mu      sync.Mutex
	filters []bson.D // of the searches
	fields  []bson.D // projections
	answer  map[string][]bson.D
	fail    string // the error of every search
}

// Operations of the wire protocol.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

func (s *stub) serve(c net.Conn) {
	defer c.Close()
	for {
		var head [16]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(head[:])-16)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		id, op := head[4:8], binary.LittleEndian.Uint32(head[12:])
		var request bson.D
		if op == opQuery {
			name := body[4:]
			name = name[strings.IndexByte(string(name), 0)+1+8:]
			bson.Unmarshal(name, &request)
		} else {
			bson.Unmarshal(body[5:], &request)
		}
		reply, _ := bson.Marshal(s.reply(request))
		var out []byte
		if op == opQuery {
			out = append(make([]byte, 16), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)
		} else {
			out = append(make([]byte, 16), 0, 0, 0, 0, 0)
		}
		out = append(out, reply...)
		binary.LittleEndian.PutUint32(out, uint32(len(out)))
		copy(out[8:], id)
		binary.LittleEndian.PutUint32(out[12:], map[bool]uint32{true: opReply, false: opMsg}[op == opQuery])
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func (s *stub) reply(request bson.D) bson.D {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch request[0].Key {
	case "hello", "isMaster", "ismaster":
		return bson.D{{Key: "ok", Value: 1}, {Key: "ismaster", Value: true}, {Key: "isWritablePrimary", Value: true}, {Key: "helloOk", Value: true},
			{Key: "maxWireVersion", Value: 21}, {Key: "minWireVersion", Value: 0}, {Key: "maxBsonObjectSize", Value: 16777216},
			{Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 100000}}
	case "find":
		if s.fail != "" {
			return bson.D{{Key: "ok", Value: 0}, {Key: "errmsg", Value: s.fail}, {Key: "code", Value: 2}}
		}
		var filter, fields bson.D
		for _, e := range request {
			switch e.Key {
			case "filter":
				filter = e.Value.(bson.D)
			case "projection":
				fields = e.Value.(bson.D)
			}
		}
		s.filters, s.fields = append(s.filters, filter), append(s.fields, fields)
		batch := bson.A{}
		for _, d := range s.answer[fmt.Sprint(filter[0].Value)] {
			batch = append(batch, d)
		}
		return bson.D{{Key: "ok", Value: 1}, {Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "mail.box"}, {Key: "firstBatch", Value: batch}}}}
	}
	return bson.D{{Key: "ok", Value: 1}}
}

func start(t *testing.T) (*stub, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &stub{answer: map[string][]bson.D{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, fmt.Sprintf("uri = mongodb://%s/?directConnection=true\ndbname = mail\ncollection = box\n", l.Addr())
}

func openTable(t *testing.T, config string) (table.Table, func() []string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.cf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o := table.NewOpener(Types())
	log, lines := maillog.Record()
	o.Log, o.ErrorIsFatal = log, true
	tab, err := o.Open("mongodb:" + path)
	return tab, lines, err
}

func TestLookup(t *testing.T) {
	s, config := start(t)
	s.answer["john@example.com"] = []bson.D{
		{{Key: "_id", Value: bson.NewObjectID()}, {Key: "alias", Value: bson.A{"a@example.com", "b@example.com", bson.A{"c"}}}, {Key: "n", Value: int32(7)}},
		{{Key: "big", Value: int64(5000000000)}, {Key: "double", Value: 1.5}, {Key: "sub", Value: bson.D{{Key: "x", Value: "y"}}}, {Key: "none", Value: nil}, {Key: "empty", Value: ""}},
	}
	tab, lines, err := openTable(t, config+`query_filter = {"name": "%s", "$or": [{"u": "%u"}, {"d": "%d", "active": 1}]}`+"\nresult_attribute = alias n, big\nresult_format = <%s>\n")
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	ctx := context.Background()
	if got, found, err := tab.Lookup(ctx, "JOHN@example.com"); got != "<a@example.com>,<b@example.com>,<c>,<7>,<5000000000>" || !found || err != nil {
		t.Errorf("got %q %v %v", got, found, err)
	}
	if log := strings.Join(lines(), "\n"); strings.Count(log, "neither text nor a whole number") != 3 || strings.Count(log, "empty lookup result") != 1 {
		t.Errorf("log: %s", log)
	}
	if got := fmt.Sprint(s.fields[0]); got != fmt.Sprint(bson.D{{Key: "_id", Value: int32(0)}, {Key: "alias", Value: int32(1)}, {Key: "n", Value: int32(1)}, {Key: "big", Value: int32(1)}}) {
		t.Errorf("projection %s", got)
	}
	for _, key := range []string{`x", "$where": "1`, `x"}], "y": "`, `\`, `{"$ne": null}`, "$where", "日本\x01'", "a\\\"b@example.com"} {
		if _, found, err := tab.Lookup(ctx, key+"@example.com"); found || err != nil {
			t.Errorf("%q: %v %v", key, found, err)
		}
		got := s.filters[len(s.filters)-1]
		if len(got) != 2 || got[0].Value != key+"@example.com" || got[1].Key != "$or" {
			t.Errorf("%q: the server is asked for %v", key, got)
		}
	}
	if _, found, err := tab.Lookup(ctx, "unqualified"); found || err != nil {
		t.Errorf("unqualified: %v %v", found, err)
	}
	s.mu.Lock()
	s.fail = "no"
	s.mu.Unlock()
	if _, _, err := tab.Lookup(ctx, "john@example.com"); err == nil {
		t.Error("an error of the server is none")
	}
}

func TestProjection(t *testing.T) {
	s, config := start(t)
	s.answer["a"] = []bson.D{{{Key: "_id", Value: "top"}, {Key: "x", Value: "y"}}}
	tab, _, err := openTable(t, config+`query_filter = {"name": "%s"}`+"\n"+`projection = {"x": {"$concat": ["$a", "@", "$b"]}}`+"\nexpansion_limit = 1\n")
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if got, _, err := tab.Lookup(context.Background(), "a"); got != "y" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if len(s.fields[0]) != 1 || s.fields[0][0].Key != "x" {
		t.Errorf("projection %v", s.fields[0])
	}
}

func TestRefusals(t *testing.T) {
	const rest = "uri = mongodb://127.0.0.1:1\ndbname = d\ncollection = c\n"
	for _, text := range []string{
		"", rest, rest + "query_filter = {\"a\": \"%s\"}\n", rest + "query_filter = {\"a\": %s}\nresult_attribute = x\n",
		rest + "query_filter = {\"%s\": 1}\nresult_attribute = x\n", rest + "query_filter = {\"a\": \"\\%s\"}\nresult_attribute = x\n",
		rest + "query_filter = {\"a\": \"%s\"\nresult_attribute = x\n", rest + "query_filter = {\"a\": \"%s\"}\nresult_attribute = x\nprojection = {}\n",
		rest + "query_filter = {\"a\": \"%s\"}\nprojection = {\n", "uri = http://x\ndbname = d\ncollection = c\nquery_filter = {\"a\": \"%s\"}\nresult_attribute = x\n",
	} {
		if _, _, err := openTable(t, text); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}

// FuzzFilter: the key is one value of the filter, and nothing else.
func FuzzFilter(f *testing.F) {
	for _, key := range []string{"a", `"`, `\`, `", "$where": "`, "\x00\n", "日本"} {
		f.Add(key)
	}
	p, err := database.ParseTemplate("query_filter", `{"a": "<%s>", "b": 1}`)
	if err != nil {
		f.Fatal(err)
	}
	c := &collection{filter: p}
	f.Fuzz(func(t *testing.T, key string) {
		d, err := c.document(database.SplitAddress(key))
		if err != nil {
			return // not UTF-8: such keys are not asked for
		}
		if len(d) != 2 || d[0].Key != "a" || d[1].Key != "b" || d[0].Value != "<"+strings.ToValidUTF8(key, "\ufffd")+">" && strings.ToValidUTF8(key, "") == key {
			t.Errorf("%q: %v", key, d)
		}
	})
}
