/* Answers what PCRE2 and the C library's regex say of a pattern and a subject.
 * Request:  kind ('p' or 'r'), flags, length, pattern, length, subject
 * Reply:    status (0 bad pattern, 1 no match, 2 match, 3 gave up), number of
 *           positions, positions. Numbers are 32 bits, in this machine's order. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ICASE = 1, DOTALL = 2, MULTILINE = 4, EXTENDED = 8, ANCHORED = 16, DOLLAREND = 32, UNGREEDY = 64 };

static int32_t positions[400];

static uint32_t number(void) {
	uint32_t n;
	if (fread(&n, sizeof n, 1, stdin) != 1)
		exit(0);
	return n;
}

static char *text(uint32_t *length) {
	*length = number();
	char *s = calloc(1, *length + 1);
	if (fread(s, 1, *length, stdin) != *length)
		exit(1);
	return s;
}

static void reply(uint32_t status, uint32_t count) {
	fwrite(&status, sizeof status, 1, stdout);
	fwrite(&count, sizeof count, 1, stdout);
	fwrite(positions, sizeof positions[0], count, stdout);
	fflush(stdout);
}

static void perl(uint32_t flags, char *pattern, uint32_t plen, char *subject, uint32_t slen) {
	uint32_t o = 0;
	if (flags & ICASE) o |= PCRE2_CASELESS;
	if (flags & DOTALL) o |= PCRE2_DOTALL;
	if (flags & MULTILINE) o |= PCRE2_MULTILINE;
	if (flags & EXTENDED) o |= PCRE2_EXTENDED;
	if (flags & ANCHORED) o |= PCRE2_ANCHORED;
	if (flags & DOLLAREND) o |= PCRE2_DOLLAR_ENDONLY;
	if (flags & UNGREEDY) o |= PCRE2_UNGREEDY;
	int code;
	PCRE2_SIZE at;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR) pattern, plen, o, &code, &at, NULL);
	if (re == NULL) {
		reply(0, 0);
		return;
	}
	pcre2_match_data *m = pcre2_match_data_create_from_pattern(re, NULL);
	int rc = pcre2_match(re, (PCRE2_SPTR) subject, slen, 0, 0, m, NULL);
	if (rc > 0) {
		PCRE2_SIZE *v = pcre2_get_ovector_pointer(m);
		uint32_t all = pcre2_get_ovector_count(m);
		for (uint32_t i = 0; i < 2 * all && i < 400; i++)
			positions[i] = i / 2 < (uint32_t) rc && v[i] != PCRE2_UNSET ? (int32_t) v[i] : -1;
		reply(2, 2 * all);
	} else {
		reply(rc == PCRE2_ERROR_NOMATCH ? 1 : 3, 0);
	}
	pcre2_match_data_free(m);
	pcre2_code_free(re);
}

static void posix(uint32_t flags, char *pattern, char *subject) {
	int o = 0;
	if (flags & ICASE) o |= REG_ICASE;
	if (flags & MULTILINE) o |= REG_NEWLINE;
	if (flags & EXTENDED) o |= REG_EXTENDED;
	regex_t re;
	if (regcomp(&re, pattern, o) != 0) {
		reply(0, 0);
		return;
	}
	regmatch_t m[200];
	uint32_t all = re.re_nsub + 1 < 200 ? re.re_nsub + 1 : 200;
	if (regexec(&re, subject, all, m, 0) == 0) {
		for (uint32_t i = 0; i < all; i++) {
			positions[2 * i] = m[i].rm_so;
			positions[2 * i + 1] = m[i].rm_eo;
		}
		reply(2, 2 * all);
	} else {
		reply(1, 0);
	}
	regfree(&re);
}

int main(void) {
	for (;;) {
		uint32_t kind = number(), flags = number(), plen, slen;
		char *pattern = text(&plen), *subject = text(&slen);
		if (kind == 'p')
			perl(flags, pattern, plen, subject, slen);
		else
			posix(flags, pattern, subject);
		free(pattern);
		free(subject);
	}
}
