package smtpclient

import (
	"context"
	"strings"
)

// filterReply changes a line of a reply as smtp_reply_filter says.
func (c *Client) filterReply(s *session, line string) string {
	if c.replies.Empty() {
		return line
	}
	out, found, err := c.replies.Lookup(context.Background(), line)
	switch {
	case err != nil:
		c.env.Log.Warningf("%s: table %s lookup error for %s", s.port, c.replies.Title(), line)
	case found:
		c.env.Log.Infof("%s: replacing server reply \"%s\" with \"%s\"", s.port, line, out)
		return out
	}
	return line
}

// discard returns the EHLO keywords that are to be ignored from a server
// (smtp_discard_ehlo_keywords and the table by address).
func (c *Client) discard(ctx context.Context, s *session) map[string]bool {
	list := c.config.DiscardKeywords
	if v, found, err := c.keywords.Lookup(ctx, s.place.printable()); err == nil && found {
		list = v
	} else if err != nil {
		c.env.Log.Warningf("%s: %s map lookup error for %s", s.id, c.keywords.Title(), s.place.printable())
	}
	words := map[string]bool{}
	silent := false
	var told []string
	for _, w := range splitNexthop(list) {
		if strings.EqualFold(w, "silent-discard") {
			silent = true
			continue
		}
		words[strings.ToUpper(w)] = true
		told = append(told, strings.ToLower(w))
	}
	if len(told) > 0 && !silent {
		c.env.Log.Infof("discarding EHLO keywords: %s", strings.Join(told, " "))
	}
	return words
}
