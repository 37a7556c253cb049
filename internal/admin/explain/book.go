package explain

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// An Entry is what the reference says of one name. One text may stand for
// several names, such as those of the SMTP and the LMTP client.
type Entry struct {
	Name    string   // the name that it is found by
	Others  []string // other names with the same text
	File    string   // where it stands, "parameters/smtp-client.md"
	Since   string   // the release of Postfix that brought it; "" where not recorded
	Text    string   // paragraphs in Markdown
	Example string   // lines of main.cf; may be empty
}

// A Book is the reference by name.
type Book map[string]Entry

// Read takes the Markdown files of fsys that match patterns apart: each
// heading of the second level names what the text below it is about.
func Read(fsys fs.FS, patterns ...string) (Book, error) {
	var files []string
	for _, p := range patterns {
		list, err := fs.Glob(fsys, p)
		if err != nil {
			return nil, err
		}
		files = append(files, list...)
	}
	book := make(Book)
	for _, file := range files {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		if err := book.add(file, string(text)); err != nil {
			return nil, err
		}
	}
	return book, nil
}

func (b Book) add(file, text string) error {
	sections := strings.Split("\n"+text, "\n## ")
	for _, section := range sections[1:] {
		head, body, _ := strings.Cut(section, "\n")
		names := strings.Split(head, ", ")
		since, body := cutSince(strings.TrimSpace(body))
		prose, example := cutExample(body)
		for _, name := range names {
			if other, ok := b[name]; ok {
				return fmt.Errorf("%s: %s is explained in %s, too", path.Base(file), name, other.File)
			}
			b[name] = Entry{
				Name: name, File: file, Since: sinceOf(since, name), Text: prose, Example: example,
				Others: slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name }),
			}
		}
	}
	return nil
}

const sinceMark = "*Since Postfix "

// cutSince takes the line "*Since Postfix 2.2 (lmtp_x 2.3).*" off.
func cutSince(body string) (since, rest string) {
	if !strings.HasPrefix(body, sinceMark) {
		return "", body
	}
	line, rest, _ := strings.Cut(body, "\n")
	return strings.TrimSuffix(strings.TrimPrefix(line, sinceMark), ".*"), strings.TrimSpace(rest)
}

// sinceOf is the release for one of the names that share an entry.
func sinceOf(since, name string) string {
	release, others, _ := strings.Cut(since, " (")
	for _, item := range strings.Split(strings.TrimSuffix(others, ")"), ", ") {
		if n, r, ok := strings.Cut(item, " "); ok && n == name {
			return r
		}
	}
	return release
}

// cutExample takes the lines that are indented by four blanks apart from the
// paragraphs.
func cutExample(body string) (prose, example string) {
	var text, code []string
	for _, line := range strings.Split(body, "\n") {
		if rest, ok := strings.CutPrefix(line, "    "); ok {
			code = append(code, rest)
		} else {
			text = append(text, line)
		}
	}
	return strings.TrimSpace(strings.Join(text, "\n")), strings.Join(code, "\n")
}

// Near returns up to three names of the book that look like name, the nearest
// first.
func (b Book) Near(name string) []string {
	type candidate struct {
		name string
		far  int
	}
	var list []candidate
	limit := max(2, len(name)/4)
	for n := range b {
		far := distance(name, n)
		if far > limit && len(name) >= 5 && strings.Contains(n, name) {
			far = limit
		}
		if far <= limit {
			list = append(list, candidate{n, far})
		}
	}
	slices.SortFunc(list, func(x, y candidate) int {
		if x.far != y.far {
			return x.far - y.far
		}
		return strings.Compare(x.name, y.name)
	})
	var names []string
	for _, c := range list[:min(3, len(list))] {
		names = append(names, c.name)
	}
	return names
}

// distance is the number of letters to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
