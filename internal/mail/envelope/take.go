package envelope

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"postern/internal/mail/record"
)

// take puts one record of the envelope or the extracted segment in its place.
func (e *Envelope) take(t record.Type, data []byte, r *record.FileReader, more bool) error {
	if t == record.Attr {
		name, value, ok := bytes.Cut(data, []byte("="))
		if !ok {
			return fmt.Errorf("attribute without a value: %.100q", data)
		}
		if pseudo := record.AttrType(string(name)); pseudo != record.Attr {
			t, data = pseudo, value
		} else if more {
			return nil
		} else {
			return e.attr(string(name), string(value), r)
		}
	}
	switch t {
	case record.Rcpt, record.Done, record.Canceled, record.OrigRcpt, record.DSNOrig, record.Notify:
		return e.recipient(t, data, r)
	}
	if more {
		return nil
	}
	return e.field(t, data, r)
}

func (e *Envelope) recipient(t record.Type, data []byte, r *record.FileReader) (err error) {
	switch t {
	case record.OrigRcpt:
		e.pending.Orig = string(data)
	case record.DSNOrig:
		e.pending.DSNOrig = string(data)
	case record.Notify:
		e.pending.Notify, err = parseNumber(data)
	case record.Rcpt:
		if e.Next == 0 {
			e.pending.Address, e.pending.Offset = string(data), r.At()
			e.Recipients = append(e.Recipients, e.pending)
		}
		e.pending = Recipient{}
	case record.Canceled:
		e.Canceled = true
		e.pending = Recipient{}
	case record.Done:
		e.pending = Recipient{}
	}
	return err
}

func (e *Envelope) field(t record.Type, data []byte, r *record.FileReader) (err error) {
	switch t {
	case record.Size:
		if e.Sizes.ContentOffset == 0 {
			e.Sizes, err = record.ParseSizes(data)
		}
	case record.Time:
		if e.Arrival.IsZero() {
			e.Arrival, err = parseTime(data)
		}
	case record.CTime:
		if e.CreateTime.IsZero() {
			e.CreateTime, err = parseTime(data)
		}
	case record.Sender:
		if !e.SeenSender {
			e.Sender, e.SeenSender = string(data), true
		}
	case record.FullName:
		e.FullName = string(data)
	case record.DSNEnvID:
		if e.EnvelopeID == "" {
			e.EnvelopeID = string(data)
		}
	case record.DSNRet:
		if e.RetFlags == 0 {
			e.RetFlags, err = parseNumber(data)
		}
	case record.Filter:
		e.Filter = string(data)
	case record.Redirect:
		e.Redirect = string(data)
	case record.Verp:
		if e.Verp == "" {
			e.Verp = string(data)
		}
	case record.Warn:
		var n int
		if n, err = parseNumber(data); err == nil {
			e.WarnOffset, e.WarnTime = r.At(), time.Time{}
			if n > 0 {
				e.WarnTime = time.Unix(int64(n), 0)
			}
		}
	case record.RRTo:
		e.RRTo = string(data)
	case record.ErrTo:
		e.ErrorsTo = string(data)
	}
	return err
}

func (e *Envelope) attr(name, value string, r *record.FileReader) error {
	if p := e.attrField(name); p != nil {
		*p = value
		return nil
	}
	if name == "trace_flags" {
		n, err := parseNumber([]byte(value))
		e.TraceFlags = n
		return err
	}
	if e.Attrs == nil {
		e.Attrs = make(map[string]string)
	}
	if len(e.Attrs) < maxAttrs {
		e.Attrs[name] = value
	}
	return nil
}

// maxAttrs bounds how many unknown attributes are kept.
const maxAttrs = 100

func (e *Envelope) attrField(name string) *string {
	switch name {
	case "encoding":
		return &e.Encoding
	case "rewrite_context":
		return &e.RewriteContext
	case "log_client_name":
		return &e.LogClient.Name
	case "log_client_address":
		return &e.LogClient.Addr
	case "log_client_port":
		return &e.LogClient.Port
	case "log_protocol_name":
		return &e.LogClient.Proto
	case "log_helo_name":
		return &e.LogClient.Helo
	case "log_message_origin":
		return &e.LogOrigin
	case "log_ident":
		return &e.LogIdent
	case "client_name":
		return &e.Client.Name
	case "reverse_client_name":
		return &e.Client.Reverse
	case "client_address":
		return &e.Client.Addr
	case "client_port":
		return &e.Client.Port
	case "protocol_name":
		return &e.Client.Proto
	case "helo_name":
		return &e.Client.Helo
	case "client_address_type":
		return &e.AddrType
	case "server_address":
		return &e.ServerAddr
	case "server_port":
		return &e.ServerPort
	case "sasl_method":
		return &e.SASLMethod
	case "sasl_username":
		return &e.SASLUsername
	case "sasl_sender":
		return &e.SASLSender
	}
	return nil
}

func parseNumber(data []byte) (int, error) {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return 0, fmt.Errorf("not a number: %.100q", data)
	}
	return int(n), nil
}
