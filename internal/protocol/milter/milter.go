// Package milter is the mail server's side of the milter protocol: it tells
// mail filters what happens in an SMTP session, asks them about each message,
// and carries out what they want changed.
//
// A Service is a milter as the configuration names it. A Chain is the
// connections to the milters of one SMTP session, or of one message that came
// another way. Its methods are the events; each asks one milter after the other
// until one has an answer that is not "go on". At the end of a message an Editor
// changes it as the milters say. A Chain can be handed over to another process
// for the content of a message (Handover).
//
// A milter that is down, hangs, or breaks the protocol costs its default
// action, never the session.
//
// Protocol versions 2, 3, 4 and 6 of Sendmail's libmilter. Postfix:
// MILTER_README, milter_* in postconf(5).
package milter

// Commands: what the mail server says.
const (
	cmdAbort     = 'A' // the message is given up
	cmdBody      = 'B' // a piece of the body
	cmdConnect   = 'C' // a client is there
	cmdMacro     = 'D' // macros for the command that follows
	cmdEndOfBody = 'E' // the message is complete
	cmdHelo      = 'H'
	cmdHeader    = 'L' // a header field
	cmdMail      = 'M'
	cmdEndOfHead = 'N'
	cmdNegotiate = 'O'
	cmdQuit      = 'Q'
	cmdRcpt      = 'R'
	cmdData      = 'T' // since version 4
	cmdUnknown   = 'U' // since version 3
)

// Replies: what a milter answers.
const (
	replyAddRcpt      = '+'
	replyDelRcpt      = '-'
	replyAddRcptPar   = '2' // with ESMTP parameters
	replyShutdown     = '4'
	replyAccept       = 'a'
	replyBody         = 'b' // a piece of the new body
	replyContinue     = 'c'
	replyDiscard      = 'd'
	replyChangeFrom   = 'e'
	replyConnFail     = 'f'
	replyAddHeader    = 'h'
	replyInsertHeader = 'i'
	replySymbols      = 'l'
	replyChangeHeader = 'm'
	replyProgress     = 'p' // still at work
	replyQuarantine   = 'q'
	replyReject       = 'r'
	replySkip         = 's' // no more of these, please
	replyTempfail     = 't'
	replyCode         = 'y' // an SMTP reply
)

// What a milter may want to do.
const (
	actAddHeader    = 1 << 0
	actChangeBody   = 1 << 1
	actAddRcpt      = 1 << 2
	actDelRcpt      = 1 << 3
	actChangeHeader = 1 << 4
	actQuarantine   = 1 << 5
	actChangeFrom   = 1 << 6
	actAddRcptPar   = 1 << 7
	actSymbols      = 1 << 8

	// Postfix: all of them are offered whatever the version of the protocol.
	allActions = actAddHeader | actChangeBody | actAddRcpt | actDelRcpt | actChangeHeader | actQuarantine |
		actChangeFrom | actAddRcptPar | actSymbols
)

// Events that a milter may do without, answers that it does not give, and
// other agreements.
const (
	noConnect   = 1 << 0
	noHelo      = 1 << 1
	noMail      = 1 << 2
	noRcpt      = 1 << 3
	noBody      = 1 << 4
	noHeaders   = 1 << 5
	noEndOfHead = 1 << 6
	muteHeader  = 1 << 7
	noUnknown   = 1 << 8
	noData      = 1 << 9
	canSkip     = 1 << 10 // the server understands "skip"
	refusedRcpt = 1 << 11 // the milter is told of recipients that the server refuses
	muteConnect = 1 << 12
	muteHelo    = 1 << 13
	muteMail    = 1 << 14
	muteRcpt    = 1 << 15
	muteData    = 1 << 16
	muteUnknown = 1 << 17
	muteEOH     = 1 << 18
	muteBody    = 1 << 19
	leadSpace   = 1 << 20 // header values with the white space that they begin with

	events2 = noConnect | noHelo | noMail | noRcpt | noBody | noHeaders | noEndOfHead
	events3 = events2 | noUnknown
	events4 = events3 | noData
	events6 = events4 | canSkip | refusedRcpt | muteHeader | muteConnect | muteHelo | muteMail | muteRcpt | muteData |
		muteUnknown | muteEOH | muteBody | leadSpace
)

// An Action is what is to be done with a command or a message.
type Action int

// The actions. Reply carries an SMTP reply; after Shutdown the connection is
// closed.
const (
	Continue Action = iota
	Reply
	Hold
	Discard
	Shutdown
)

// A Response is the word of a chain.
type Response struct {
	Action Action
	Text   string // of Reply: "550 5.7.1 text"; several lines are separated by "\r\n"
}

func (r Response) goesOn() bool { return r.Action == Continue }

// Replies that a milter causes without giving one of its own.
const (
	textRejected    = "550 5.7.1 Command rejected"
	textUnavailable = "451 4.7.1 Service unavailable - try again later"
	textRefused     = "550 5.5.0 Service unavailable"
	textMisset      = "451 4.3.5 Server configuration problem - try again later"
)
