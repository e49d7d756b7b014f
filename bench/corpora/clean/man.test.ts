import { expect, test } from 'vitest'
import { manText } from './man.ts'
import { normalText } from './normal.ts'

const text = (...lines: string[]): string => normalText(manText(lines.join('\n')))

test('a page in man macros becomes headings, filled paragraphs, tags above their text, and code as it is', () => {
  expect(
    text(
      '.\\" A comment',
      '.TH LS 1 "April 2025"',
      '.SH NAME',
      'ls \\- list',
      'files',
      '.SH OPTIONS',
      '.TP',
      '.BR \\-a ", " \\-\\-all',
      'do not ignore \\fIhidden\\fP',
      'files',
      '.IP \\(bu 2',
      'a point',
      '.PP',
      'See',
      '.MR dir 1 .',
      '.EX',
      'int main() {',
      '    return \\(aq\\en\\(aq;',
      '}',
      '.EE',
    ),
  ).toBe(
    'NAME\n\nls - list files\n\nOPTIONS\n\n-a, --all\ndo not ignore hidden files\n\n- a point\n\nSee dir(1).\n' +
      "int main() {\n    return '\\n';\n}\n",
  )
})

test('escapes are resolved: characters by name, fonts, sizes, strings and motions', () => {
  const line =
    "na\\[:i]ve \\(co 2025, \\s-2small\\s+2, \\f(CWcode\\fR, \\[u00E9], 1\\(mu2, \\*(Tm a\\&b\\|c\\h'1n'd \\\\- e\\ f"
  expect(text('.SH A', line)).toBe('A\n\nnaïve © 2025, small, code, é, 1×2, ™ abcd \\- e f\n')
})

test('conditions hold as on a terminal, definitions are carried out, and ignored blocks are not', () => {
  expect(
    text(
      '.SH A',
      '.de Own',
      'own \\\\$1 text',
      '..',
      '.ie n \\{\\',
      'terminal',
      '.\\}',
      '.el \\{\\',
      'printer',
      '.\\}',
      '.if t .Own not',
      '.Own my',
      '.ds Name whale',
      'the \\*[Name]',
      '.ig',
      'ignored',
      '..',
      'end',
    ),
  ).toBe('A\n\nterminal own my text the whale end\n')
})

test('tables have a line for each row; their formats, rules and text blocks are resolved', () => {
  expect(
    text(
      '.SH A',
      '.TS',
      'tab(:) allbox;',
      'l l',
      'l l.',
      'Name:Value',
      '_',
      'T{',
      'a long',
      'cell',
      'T}:\\fB1\\fP',
      '.TE',
      'end',
    ),
  ).toBe('A\n\nName  Value\na long cell  1\n\nend\n')
})

test('links have their address after their text', () => {
  expect(text('.SH A', 'the', '.UR http://a.example', 'page', '.UE ,', 'and more')).toBe(
    'A\n\nthe page <http://a.example>, and more\n',
  )
})

test('a page that only names another has no text', () => {
  expect(text('.so man1/ls.1')).toBe('')
})

test('a page in mdoc macros becomes text: names, flags, arguments, enclosures, lists and displays', () => {
  expect(
    text(
      '.Dd May 1, 2024',
      '.Dt FISH 6',
      '.Os',
      '.Sh NAME',
      '.Nm fish',
      '.Nd play Go Fish',
      '.Sh SYNOPSIS',
      '.Nm',
      '.Op Fl p Ar level',
      '.Sh DESCRIPTION',
      'The',
      '.Nm',
      'game, see',
      '.Xr cards 6 ,',
      'has',
      '.Dq two words .',
      '.Bl -tag -width indent',
      '.It Fl p',
      'Professional',
      'mode.',
      '.El',
      '.Bd -literal',
      'fish  -p',
      '.Ed',
      '.Oo',
      '.Ar file',
      '.Oc',
      '.Fn main "int argc" "char **argv"',
    ),
  ).toBe(
    'NAME\n\nfish - play Go Fish\n\nSYNOPSIS\n\nfish [-p level]\n\nDESCRIPTION\n\nThe fish game, see cards(6), has “two words”.\n\n' +
      '-p\nProfessional mode.\n\nfish  -p\n\n[ file ] main(int argc, char **argv)\n',
  )
})

test('macros that call themselves and blocks without an end do not hang', () => {
  expect(text('.SH A', '.de X', '.X', '.X', '..', '.X', 'end')).toContain('end')
  expect(text('.SH A', 'text', '.if t \\{', 'no end')).toBe('A\n\ntext\n')
  expect(text('.SH A', '.ds a \\*b', '.ds b \\*a', 'x\\*a')).toBe('A\n\nx\n')
})
