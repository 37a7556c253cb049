package neighbours

import "strings"

// schema is the tables of a mail system with virtual mailboxes, as the usual
// guides lay them out, in SQL that all three servers take.
const schema = `
CREATE TABLE virtual_domains (id INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE);
CREATE TABLE virtual_users (id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL REFERENCES virtual_domains(id),
	email VARCHAR(200) NOT NULL UNIQUE, password VARCHAR(150) NOT NULL, quota BIGINT NOT NULL DEFAULT 0, note VARCHAR(200));
CREATE TABLE virtual_aliases (id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL REFERENCES virtual_domains(id),
	source VARCHAR(200) NOT NULL, destination VARCHAR(200) NOT NULL);
CREATE TABLE odd (k VARCHAR(200) NOT NULL, v VARCHAR(200), w VARCHAR(200));
INSERT INTO virtual_domains VALUES (1, 'example.com'), (2, 'example.org'), (3, 'a.b.c.example.net'), (4, 'xn--bcher-kva.example');
INSERT INTO virtual_users VALUES (1, 1, 'john@example.com', 'x', 1000, NULL), (2, 1, 'sue@example.com', 'x', 0, 'a note'),
	(3, 2, 'john@example.org', 'x', 5000000000, ''), (4, 3, 'deep@a.b.c.example.net', 'x', 7, NULL),
	(5, 1, 'o''brien@example.com', 'x', 1, 'apostrophe'), (6, 1, 'back\slash@example.com', 'x', 1, 'backslash'),
	(7, 1, 'jürgen@example.com', 'x', 1, 'Umlaut ü'), (8, 1, 'quo"te@example.com', 'x', 1, 'quote'), (9, 1, '日本@example.com', 'x', 1, '日本語');
INSERT INTO virtual_aliases VALUES (1, 1, 'postmaster@example.com', 'john@example.com'), (2, 1, 'all@example.com', 'john@example.com'),
	(3, 1, 'all@example.com', 'sue@example.com'), (4, 1, 'all@example.com', 'john@example.org'), (5, 2, '@example.org', 'john@example.org'),
	(6, 1, 'local@example.com', 'john'), (7, 1, 'empty@example.com', '');
INSERT INTO odd VALUES ('multi', 'a@x.example', 'b@y.example'), ('multi', NULL, 'c'), ('null', NULL, NULL), ('half', NULL, 'w'),
	('unqualified', 'user', 'dom.example'), ('at', '@dom.example', 'user@'), ('100%', 'percent', '50% off');
`

// sqlFor returns schema in the form that a server takes: MariaDB reads a
// backslash as an escape.
func sqlFor(server string) string {
	if server == "mariadb" {
		return "CREATE DATABASE mail CHARACTER SET utf8mb4; USE mail;\n" + strings.ReplaceAll(schema, `\`, `\\`) + `
CREATE PROCEDURE lookup(IN k VARCHAR(255)) READS SQL DATA SELECT destination FROM virtual_aliases WHERE source = k ORDER BY id;
DELIMITER //
CREATE PROCEDURE twice(IN k VARCHAR(255)) READS SQL DATA BEGIN SELECT 1; SELECT 2; END//
DELIMITER ;
CREATE PROCEDURE silent(IN k VARCHAR(255)) DO 0;
CREATE USER postfix@'127.0.0.1' IDENTIFIED BY 'secret ''pass'; GRANT ALL ON mail.* TO postfix@'127.0.0.1';
`
	}
	if server == "postgresql" {
		return schema + `
CREATE FUNCTION alias_of(k text) RETURNS SETOF text AS 'SELECT destination FROM virtual_aliases WHERE source = k ORDER BY id' LANGUAGE sql;
CREATE USER postfix PASSWORD 'secret''pass'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO postfix;
`
	}
	return schema
}

// A query is a table of the test: parameters beside those of the connection.
type query struct {
	name   string
	params string
}

// allKeys are keys of every kind: addresses, parts of them, and hostile ones.
var allKeys = []string{
	"john@example.com", "JOHN@Example.COM", "sue@example.com", "nobody@example.com", "all@example.com", "postmaster@example.com",
	"@example.org", "john", "example.com", "example.net", "deep@a.b.c.example.net", "deep@c.example.net", "local@example.com", "empty@example.com",
	"user@", "@", "@@example.com", "a@b@example.com", "john@[1.2.3.4]", "john@1.2.3.4", "john@a..b", "john@.example.com", "john@example.com.",
	"john@-a.example.com", "john@exa_mple.com", `"quoted"@example.com`, `"john"@example.com`, `john\@example.com`,
	"o'brien@example.com", `back\slash@example.com`, `quo"te@example.com`, "jürgen@example.com", "JÜRGEN@example.com", "日本@example.com", "john@bücher.example",
	"100%", "%s", "%u@%d", "multi", "null", "half", "unqualified", "at", " ", " john@example.com", "john@example.com ", "1", "2.5", "-1", "1e3", "0x1F",
}

// hostileKeys try to get out of the quotes.
var hostileKeys = []string{
	`' OR '1'='1`, `' OR 1=1 -- `, `' OR 1=1 #`, `\' OR 1=1 -- `, `\\' OR 1=1 -- `, `'' OR 1=1 -- `, `" OR "1"="1`, `" OR 1=1 -- `, `\" OR 1=1 -- `,
	`'; DROP TABLE virtual_users; --`, `'/**/OR/**/1=1/*`, `x' UNION SELECT 'evil`, `x\`, `x\\`, `x'`, `x''`, `x"`, "x`", "`x` OR 1=1 -- ",
	"\xbf' OR 1=1 -- ", "\xbf\\' OR 1=1 -- ", "\xe3' OR 1=1 -- ", "\xf0\x9f' OR 1=1 -- ", "\x83' OR 1=1 -- ", "é' OR 1=1 -- ", "日' OR 1=1 -- ", "表' OR 1=1 -- ",
	"\u2019 OR 1=1 -- ", "\uff07 OR 1=1 -- ", "ʼ OR 1=1 -- ", "$$ OR 1=1 -- ", "$1", "?", ":a", "@@version", "x\x1a' OR 1=1 -- ", "x\t' OR 1=1 -- ", "x\r' OR 1=1 -- ",
	`' OR 1=1 -- @example.com`, `john@' OR 1=1 -- `, `\@' OR 1=1 -- `, `a\@\' OR 1=1 -- `, `''@''`, `\'@\'`,
}

// queries are the tables.
var queries = []query{
	{name: "users", params: "query = SELECT email FROM virtual_users WHERE email = '%s'\n"},
	{name: "ones", params: "query = SELECT 1 FROM virtual_users WHERE email = '%s'\n"},
	{name: "quota", params: "query = SELECT quota FROM virtual_users WHERE email = '%s'\n"},
	{name: "notes", params: "query = SELECT note FROM virtual_users WHERE email = '%s'\n"},
	{name: "domains", params: "query = SELECT name FROM virtual_domains WHERE name = '%s'\n"},
	{name: "domain-of", params: "query = SELECT name FROM virtual_domains WHERE name = '%d'\n"},
	{name: "user-of", params: "query = SELECT email FROM virtual_users WHERE email = '%u@example.com'\n"},
	{name: "echo-user", params: "query = SELECT '%u'\n"},
	{name: "echo-domain", params: "query = SELECT '%d'\n"},
	{name: "echo", params: "query = SELECT '<%s>'\n"},
	{name: "echo-upper", params: "query = SELECT '%S %U %D'\n"},
	{name: "echo-parts", params: "query = SELECT '%2-%1'\n"},
	{name: "echo-three", params: "query = SELECT '%3', '%%'\n"},
	{name: "aliases", params: "query = SELECT destination FROM virtual_aliases WHERE source = '%s' ORDER BY id\n"},
	{name: "aliases-1", params: "query = SELECT destination FROM virtual_aliases WHERE source = '%s' ORDER BY id\nexpansion_limit = 3\n"},
	{name: "columns", params: "query = SELECT v, w FROM odd WHERE k = '%s' ORDER BY w\n"},
	{name: "format", params: "query = SELECT destination FROM virtual_aliases WHERE source = '%s' ORDER BY id\nresult_format = smtp:[%d]:%u\n"},
	{name: "format-key", params: "query = SELECT destination FROM virtual_aliases WHERE source = '%s' ORDER BY id\nresult_format = %U+%s@%D\n"},
	{name: "format-parts", params: "query = SELECT destination FROM virtual_aliases WHERE source = '%s' ORDER BY id\nresult_format = %2.%1/%S%%\n"},
	{name: "format-odd", params: "query = SELECT v, w FROM odd WHERE k = '%s' ORDER BY w\nresult_format = u=%u\n"},
	{name: "format-odd-d", params: "query = SELECT v, w FROM odd WHERE k = '%s' ORDER BY w\nresult_format = d=%d\n"},
	{name: "in-domain", params: "query = SELECT email FROM virtual_users WHERE email = '%s'\ndomain = example.com, inline:{example.net=1}\n"},
	{name: "in-deep", params: "query = SELECT '%s'\ndomain = !c.example.net, b.c.example.net example.com\n"},
	{name: "legacy", params: "select_field = destination\ntable = virtual_aliases\nwhere_field = source\nadditional_conditions = AND domain_id = 1 ORDER BY id\n"},
	{name: "dollar", params: "query = SELECT '$mydomain ${x} $$', '%s'\n"},
	{name: "continued", params: "query = SELECT email\n  FROM virtual_users\n# a comment\n  WHERE email = '%s'\n"},
}
