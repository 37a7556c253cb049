//go:build !nomongodb

// Package mongodb is the table type mongodb: a search in a collection of a
// MongoDB server.
//
// Postfix: mongodb_table(5), since 3.9. The build tag nomongodb leaves the
// client out.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"postern/internal/table"
	"postern/internal/table/database"
)

// Types returns the type mongodb.
func Types() []table.Type {
	return []table.Type{{Name: "mongodb", Fold: true, Database: true, Open: open}}
}

// Limits of the client.
const (
	selectTimeout = 10 * time.Second // to find a server that answers
	queryTimeout  = 30 * time.Second
	idleTime      = time.Minute
	maxConns      = 20
	maxNested     = 20 // arrays in arrays
)

// A collection is an open table. The client starts with the first lookup: it
// watches its servers from then on.
type collection struct {
	*database.Common
	uri, db, name string
	filter        *database.Template
	projection    bson.D

	mu     sync.Mutex
	client *mongo.Client
}

func open(name string, o *table.Opener) (table.Table, error) {
	c, err := database.Load("mongodb", name, o)
	if err != nil {
		return nil, err
	}
	t := &collection{uri: c.Required("uri"), db: c.Required("dbname"), name: c.Required("collection")}
	if !strings.HasPrefix(t.uri, "mongodb://") && !strings.HasPrefix(t.uri, "mongodb+srv://") {
		c.Failf("uri: use mongodb://host:port or mongodb+srv://host")
	}
	if t.filter, err = database.ParseTemplate("query_filter", c.Required("query_filter")); err != nil {
		c.Failf("%w", err)
		return nil, c.Err()
	}
	if err := checkFilter(t.filter); err != nil {
		c.Failf("%w", err)
	}
	if t.projection, err = projection(c.Str("projection", ""), c.List("result_attribute", "")); err != nil {
		c.Failf("%w", err)
	}
	// What is wrong in the JSON shows with any key.
	if _, err := t.document(database.SplitAddress("user@a.b.c.d.e.f.g.h.i")); err != nil {
		c.Failf("query_filter: %w", err)
	}
	t.Common = database.NewCommon(c, o, t.filter)
	return t, c.Err()
}

// projection returns which fields are asked for.
func projection(text string, names []string) (bson.D, error) {
	var d bson.D
	switch {
	case text != "" && len(names) > 0:
		return nil, errors.New("projection and result_attribute are both set: leave one of them empty")
	case text == "" && len(names) == 0:
		return nil, errors.New("set projection or result_attribute")
	case text != "":
		if err := bson.UnmarshalExtJSON([]byte(text), false, &d); err != nil {
			return nil, fmt.Errorf("projection: %w", err)
		}
		return d, nil
	}
	d = bson.D{{Key: "_id", Value: 0}}
	for _, name := range names {
		d = append(d, bson.E{Key: name, Value: 1})
	}
	return d, nil
}

// document makes the filter for a key.
func (t *collection) document(key *database.Address) (bson.D, error) {
	var d bson.D
	err := bson.UnmarshalExtJSON([]byte(t.filter.Expand(key, quote)), false, &d)
	return d, err
}

// connect returns the client.
func (t *collection) connect() (*mongo.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client != nil {
		return t.client, nil
	}
	o := options.Client().ApplyURI(t.uri).SetServerSelectionTimeout(selectTimeout).SetTimeout(queryTimeout).
		SetMaxConnIdleTime(idleTime).SetMaxPoolSize(maxConns).SetAppName("postfix")
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, err
	}
	t.client = client
	return client, nil
}

// Lookup searches for key. Any failure is temporary.
func (t *collection) Lookup(ctx context.Context, key string) (string, bool, error) {
	address, err := t.Eligible(ctx, key)
	if address == nil || err != nil {
		return "", false, err
	}
	answer := t.Answer(address)
	if err := t.find(ctx, address, answer); err != nil {
		return "", false, fmt.Errorf("%s: %w", t.Spec, err)
	}
	value, found := answer.Value()
	return value, found, nil
}

func (t *collection) find(ctx context.Context, key *database.Address, answer *database.Answer) error {
	filter, err := t.document(key)
	if err != nil {
		return fmt.Errorf("query_filter for %q: %w", key.Whole, err)
	}
	client, err := t.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	found, err := client.Database(t.db).Collection(t.name).Find(ctx, filter, options.Find().SetProjection(t.projection))
	if err != nil {
		return err
	}
	defer found.Close(ctx)
	for found.Next(ctx) {
		var d bson.D
		if err := found.Decode(&d); err != nil {
			return err
		}
		for _, field := range d {
			if field.Key == "_id" {
				continue
			}
			if err := t.add(field.Key, field.Value, answer, 0); err != nil {
				return err
			}
		}
	}
	return found.Err()
}

// add takes the results in a field: texts, whole numbers, and arrays of them.
func (t *collection) add(name string, value any, answer *database.Answer, depth int) error {
	switch v := value.(type) {
	case string:
		return answer.Add(v)
	case int32:
		return answer.Add(strconv.FormatInt(int64(v), 10))
	case int64:
		return answer.Add(strconv.FormatInt(v, 10))
	case bson.A:
		if depth >= maxNested {
			return fmt.Errorf("field %s: arrays are nested more than %d deep", name, maxNested)
		}
		for _, item := range v {
			if err := t.add(name, item, answer, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	t.Log.Warningf("%s: field %s has a value that is neither text nor a whole number -- ignored", t.Spec, name)
	return nil
}

// closeTimeout bounds the farewell.
const closeTimeout = time.Second

// Close closes the connections.
func (t *collection) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return t.client.Disconnect(ctx)
}
