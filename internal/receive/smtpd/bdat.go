package smtpd

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"postern/internal/ipc/cleanup"
	"postern/internal/protocol/smtp"
)

// A bdatState is a message that comes in chunks.
type bdatState struct {
	reader  *smtp.ChunkReader
	content *content
}

// bdat is BDAT (RFC 3030). The chunk follows whatever the answer is, so that a
// refused one is swallowed to the octet; a size that cannot be read ends the
// session, because it is not known where the next command begins.
func (s *session) bdat(arg string) outcome {
	if s.discards["chunking"] {
		s.end = true
		return say(ok(521, "5.5.1", "Error: command not implemented"))
	}
	size, final, valid := parseBDAT(arg)
	if !valid {
		s.end = true
		s.log.Warningf("%smalformed BDAT command syntax from %s: %.100s", s.idPrefix(), s.subject.LogClient, strings.TrimSpace("BDAT "+arg))
		return say(ok(521, "5.5.4", "Syntax: BDAT count [LAST]"))
	}
	if size == 0 && !final {
		s.log.Warningf("%snull BDAT request from %s", s.idPrefix(), s.subject.LogClient)
		s.bdatFailed = true
		return say(ok(551, "5.7.1", "Null BDAT request"))
	}
	return s.chunk(size, final)
}

// idPrefix starts a warning about a message.
func (s *session) idPrefix() string {
	if s.queueID() == "" {
		return "NOQUEUE: "
	}
	return s.queueID() + ": "
}

func parseBDAT(arg string) (size int64, final, valid bool) {
	words := strings.Fields(arg)
	if len(words) < 1 || len(words) > 2 {
		return 0, false, false
	}
	size, err := strconv.ParseInt(words[0], 10, 63)
	if err != nil || size < 0 || words[0][0] < '0' || words[0][0] > '9' {
		return 0, false, false
	}
	if len(words) == 2 {
		if !strings.EqualFold(words[1], "LAST") {
			return 0, false, false
		}
		final = true
	}
	return size, final, true
}

// chunk checks whether the chunk may come, and takes or swallows it.
func (s *session) chunk(size int64, final bool) outcome {
	if s.bdatFailed {
		return s.swallow(size, ok(551, "5.0.0", fmt.Sprintf("Discarded %d bytes after earlier error", size)), final)
	}
	if r, early := s.needRecipients(); early {
		s.bdatFailed = true
		return s.swallow(size, r, final)
	}
	if s.tx.bdat == nil && !s.standAlone {
		if r := s.policy.DataStart(s.ctx, &s.subject); !r.IsZero() {
			s.bdatFailed = true
			return s.swallow(size, r, final)
		}
		s.judged("")
	}
	if s.tx.bdat == nil {
		if r := s.milterData(); !r.IsZero() {
			s.bdatFailed = true
			return s.swallow(size, r, final)
		}
	}
	if limit := s.common.MessageSizeLimit; limit > 0 && (size > limit || s.tx.octets > limit-size) {
		s.tx.status |= cleanup.StatusSize
		s.bdatFailed = true
		s.log.Warningf("%sBDAT request from %s exceeds message size limit", s.idPrefix(), s.subject.LogClient)
		text := "Message size exceeds fixed limit"
		if size > limit {
			text = "Chunk exceeds message size limit"
		}
		return s.swallow(size, ok(552, "5.3.4", text), final)
	}
	if s.tx.bdat == nil && s.tx.filter != nil {
		if r, taken := s.tx.filter.Command("DATA", '3'); !taken {
			s.bdatFailed = true
			return s.swallow(size, r, final)
		}
	}
	if s.tx.bdat == nil {
		s.tx.bdat = &bdatState{content: s.beginContent(), reader: s.in.NewChunkReader(s.common.LineLengthLimit)}
	}
	return s.takeChunk(size, final)
}

// swallow drops a chunk and gives the reply. The last chunk of a refused
// message ends the transaction.
func (s *session) swallow(size int64, r smtp.Reply, final bool) outcome {
	c := s.in.NewChunkReader(s.common.LineLengthLimit)
	c.StartChunk(size)
	if err := c.Skip(); err != nil {
		return s.lost(err)
	}
	if final {
		s.reset()
	}
	return say(r)
}

// takeChunk passes a chunk on to cleanup.
func (s *session) takeChunk(size int64, final bool) outcome {
	b := s.tx.bdat
	b.reader.StartChunk(size)
	s.octets = s.tx.octets
	for {
		line, full, err := b.reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.lost(err)
		}
		b.content.line(line, full)
	}
	if !final {
		s.octets = -1
		return say(ok(250, "2.0.0", fmt.Sprintf("Ok: %d bytes", size)))
	}
	// RFC 3030 wants text in lines; a last line without an end is given one.
	if rest := b.reader.Flush(); rest != nil {
		b.content.line(rest, true)
	} else if b.content.left {
		b.content.line(nil, true)
	}
	s.noteBareLF(b.reader.BareLF)
	return s.endContent(fmt.Sprintf("%d bytes ", s.tx.octets))
}
