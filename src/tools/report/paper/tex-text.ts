/**
 * Text for LaTeX, in ASCII only, so that it compiles with every engine and encoding. Accents and Greek letters become
 * commands. A character that LaTeX cannot show without more fonts is written as its code point, such as [U+4E2D], so
 * that two names that differ only in such characters stay different.
 */
import { sanitize } from '../../../core/text/escape.ts'
import { greekNames } from '../../../core/text/greek.ts'

const symbols: Readonly<Record<string, string>> = {
  '\\': '\\textbackslash{}',
  '{': '\\{',
  '}': '\\}',
  $: '\\$',
  '&': '\\&',
  '#': '\\#',
  '%': '\\%',
  _: '\\_',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
  '<': '$<$',
  '>': '$>$',
  '|': '$|$',
  // A bracket or an asterisk at the start of a row would be an argument of the command before it.
  '[': '{[}',
  ']': '{]}',
  '*': '{*}',
  '`': '{`}',
  '"': "{''}",
  '\u200b': '{}',
  '\u00a0': '~',
  '\u202f': '~',
  '−': '$-$',
  '×': '$\\times$',
  '±': '$\\pm$',
  '·': '$\\cdot$',
  '≤': '$\\le$',
  '≥': '$\\ge$',
  '≈': '$\\approx$',
  '≠': '$\\ne$',
  '→': '$\\to$',
  '←': '$\\leftarrow$',
  '∞': '$\\infty$',
  '√': '$\\surd$',
  '∑': '$\\sum$',
  '∫': '$\\int$',
  '∂': '$\\partial$',
  '°': '$^\\circ$',
  µ: '$\\mu$',
  '–': '--{}',
  '—': '---{}',
  '…': '\\dots{}',
  '‘': '{`}',
  '’': "{'}",
  '“': '{``}',
  '”': "{''}",
  '†': '\\dag{}',
  '‡': '\\ddag{}',
  '§': '\\S{}',
  '¶': '\\P{}',
  '‖': '$\\|$',
  ß: '\\ss{}',
  æ: '\\ae{}',
  Æ: '\\AE{}',
  œ: '\\oe{}',
  Œ: '\\OE{}',
  ø: '\\o{}',
  Ø: '\\O{}',
  ł: '\\l{}',
  Ł: '\\L{}',
  ο: 'o',
  ...Object.fromEntries(
    Object.entries(greekNames)
      .filter(([letter]) => letter !== 'ο')
      .map(([letter, name]) => [letter, `$\\${name}$`]),
  ),
  ...Object.fromEntries(
    [...'ΓΔΘΛΞΠΣΥΦΨΩ'].map((letter) => {
      const name = greekNames[letter.toLowerCase()] ?? ''
      return [letter, `$\\${name.charAt(0).toUpperCase()}${name.slice(1)}$`]
    }),
  ),
}

/** Commands of combining accents. */
const accents: Readonly<Record<string, string>> = {
  '\u0300': '`',
  '\u0301': "'",
  '\u0302': '^',
  '\u0303': '~',
  '\u0304': '=',
  '\u0306': 'u',
  '\u0307': '.',
  '\u0308': '"',
  '\u030a': 'r',
  '\u030b': 'H',
  '\u030c': 'v',
  '\u0327': 'c',
}

/** Escapes a text for a paragraph or a cell; runs of white space become one space. */
export function texText(text: string): string {
  const flat = sanitize(text)
    .normalize('NFC')
    .replace(/[^\S\u00a0\u202f]+/g, ' ')
    .trim()
  // Pairs of these are ligatures: longer dashes, and quotes of other kinds.
  return Array.from(flat.replace(/([-',])(?=[-',–—])/g, '$1\u200b'), escaped).join('')
}

function escaped(character: string): string {
  const known = symbols[character]
  if (known !== undefined) return known
  if (/[ -~]/.test(character)) return character
  const [base = '', ...marks] = character.normalize('NFD')
  const commands = marks.map((mark) => accents[mark])
  if (/[A-Za-z]/.test(base) && commands.every((command) => command !== undefined))
    return commands.reduce<string>((inner, command) => `\\${command}{${inner}}`, base)
  return `{[}U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}{]}`
}
