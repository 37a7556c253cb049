//go:build !nomongodb

package mongodb

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A server of the user's own, as MONGODB_URI names it, gives what a mail system
// asks of it. Debian has none; FerretDB 1.24 speaks the protocol, too:
//
//	ferretdb --handler=sqlite --sqlite-url=file:DIR/ --listen-addr=127.0.0.1:27017 --telemetry=disable
//	MONGODB_URI=mongodb://127.0.0.1:27017/ go test -run TestServer ./internal/table/mongodb
func TestServer(t *testing.T) {
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		t.Skip("MONGODB_URI names no server")
	}
	ctx := context.Background()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(ctx)
	db := client.Database(fmt.Sprintf("mail%d", os.Getpid()))
	defer db.Drop(ctx)
	hostile := []string{`x", "$where": "1`, `{"$ne": null}`, `$where`, `a\\"b`, "日本\x01'", `*`, `.*`}
	docs := []any{
		bson.D{{Key: "name", Value: "john@example.com"}, {Key: "active", Value: 1}, {Key: "goto", Value: bson.A{"john@mailhost.example", "copy@example.com"}}, {Key: "quota", Value: int64(5_000_000_000)}},
		bson.D{{Key: "name", Value: "sue@example.com"}, {Key: "active", Value: 1}, {Key: "goto", Value: "sue@mailhost.example"}, {Key: "quota", Value: int32(7)}},
		bson.D{{Key: "name", Value: "off@example.com"}, {Key: "active", Value: 0}, {Key: "goto", Value: "off@mailhost.example"}},
	}
	for i, key := range hostile {
		docs = append(docs, bson.D{{Key: "name", Value: key + "@example.com"}, {Key: "active", Value: 1}, {Key: "goto", Value: fmt.Sprint("hostile", i)}})
	}
	if _, err := db.Collection("box").InsertMany(ctx, docs); err != nil {
		t.Fatal(err)
	}
	config := "uri = " + uri + "\ndbname = " + db.Name() + "\ncollection = box\n"
	tab, _, err := openTable(t, config+`query_filter = {"name": "%s", "active": 1}`+"\nresult_attribute = goto\n")
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	want := map[string]string{
		"john@example.com": "john@mailhost.example,copy@example.com", "JOHN@example.com": "john@mailhost.example,copy@example.com",
		"sue@example.com": "sue@mailhost.example", "off@example.com": "", "none@example.com": "", `{"$ne": 1}`: "", `", "active": {"$gte": 0}, "x": "`: "",
	}
	for i, key := range hostile {
		want[key+"@example.com"] = fmt.Sprint("hostile", i)
	}
	for key, value := range want {
		if got, found, err := tab.Lookup(ctx, strings.ToLower(key)); got != value || found != (value != "") || err != nil {
			t.Errorf("%q: got %q %v %v, want %q", key, got, found, err, value)
		}
	}
	numbers, _, err := openTable(t, config+`query_filter = {"$or": [{"name": "%s"}, {"name": "%u"}]}`+"\nprojection = {\"_id\": 0, \"quota\": 1}\nresult_format = %s MB\n")
	if err != nil {
		t.Fatal(err)
	}
	defer numbers.Close()
	for key, value := range map[string]string{"john@example.com": "5000000000 MB", "sue@example.com": "7 MB", "off@example.com": ""} {
		if got, _, err := numbers.Lookup(ctx, key); got != value || err != nil {
			t.Errorf("%q: got %q %v, want %q", key, got, err, value)
		}
	}
	broken, _, err := openTable(t, config+`query_filter = {"$nosuch": "%s"}`+"\nresult_attribute = goto\n")
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	if got, found, err := broken.Lookup(ctx, "john@example.com"); err == nil {
		t.Errorf("a filter that the server refuses: %q %v", got, found)
	}
}
