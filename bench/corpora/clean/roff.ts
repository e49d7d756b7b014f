/**
 * The language below the macros of manual pages: groff(7). Comments, conditions, definitions and escapes are resolved
 * here, as for a terminal, so that man.ts and mdoc.ts see only lines of text, and macros with their arguments.
 */
import { glyph } from './glyphs.ts'

/** A line of text, or a macro call with its arguments. Escapes are resolved in text, but not yet in arguments. */
export type RoffLine =
  | { readonly text: string; readonly macro?: undefined }
  | { readonly macro: string; readonly args: readonly string[] }

/** Longest chain of macros that call each other. */
const MAX_CALLS = 8

/** Largest number of lines of a page, including the lines of its macros. A page whose macros multiply is cut here. */
const MAX_LINES = 200_000

/** Reads the lines of a page in order. Strings and macros that the page defines are expanded. */
export class Roff {
  private readonly strings = new Map<string, string>([
    ['R', '®'],
    ['Tm', '™'],
    ['lq', '“'],
    ['rq', '”'],
    ['Lq', '“'],
    ['Rq', '”'],
    ['q', '"'],
    ['Ba', '|'],
    ['Le', '≤'],
    ['Ge', '≥'],
    ['Lt', '<'],
    ['Gt', '>'],
    ['Am', '&'],
    ['Pm', '±'],
    ['Ne', '≠'],
    ['If', 'infinity'],
    ['Pi', 'pi'],
  ])
  private readonly macros = new Map<string, readonly string[]>()
  /** Results of each `.ie` whose `.el` is still to come. */
  private readonly conditions: boolean[] = []
  private read = 0

  private readonly known: ReadonlySet<string>

  /** @param known macros that keep their meaning even if a page defines them */
  constructor(known: ReadonlySet<string>) {
    this.known = known
  }

  *lines(source: string): Generator<RoffLine> {
    // A backslash at the end of a line continues it.
    yield* this.each(source.replace(/\\\n/g, '').split('\n'), [], 0)
  }

  private *each(lines: readonly string[], args: readonly string[], depth: number): Generator<RoffLine> {
    for (let i = 0; i < lines.length; i++) {
      if (this.read++ > MAX_LINES) return
      let line = withoutComment(lines[i] as string)
      if (line === undefined) continue
      if (depth > 0)
        line = line
          .replace(/(?<!\\)\\+\$(\d)/g, (_, n) => args[Number(n) - 1] ?? '')
          .replace(/(?<!\\)\\+\$[*@]/g, args.join(' '))
      for (;;) {
        const call = /^[.'][ \t]*([^ \t\\]*)[ \t]*(.*)$/s.exec(line)
        if (!call) {
          yield { text: this.plain(line) }
          break
        }
        const [, macro = '', rest = ''] = call
        if (macro === '') break
        if (macro === 'if' || macro === 'ie' || macro === 'el' || macro === 'while') {
          const { isTrue, body } = this.condition(macro, rest)
          if (isTrue) {
            // Braces only group lines. The opening brace is removed here, closing braces with the comments of their
            // lines.
            line = body.replace(/^\\\{[ \t]*/, '')
            if (line === '' || line === '\\}') break
            continue
          }
          i = afterBlock(lines, i, body)
          break
        }
        if (macro === 'ig' || macro === 'de' || macro === 'de1' || macro === 'am') {
          const [name = '', end = ''] = splitArgs(rest)
          const mark = (macro === 'ig' ? name : end) || '.'
          const until = endOf(lines, i + 1, mark)
          if (macro !== 'ig' && !this.known.has(name))
            this.macros.set(
              name,
              lines.slice(i + 1, until).map((each) => each.replace(/\\\\/g, '\\')),
            )
          i = until
          break
        }
        if (macro === 'ds' || macro === 'as') {
          const [, name = '', value = ''] = /^(\S+)[ \t]*"?(.*)$/s.exec(rest) ?? []
          this.strings.set(name, (macro === 'as' ? (this.strings.get(name) ?? '') : '') + value)
          break
        }
        const own = this.macros.get(macro)
        if (own && depth < MAX_CALLS) yield* this.each(own, splitArgs(rest), depth + 1)
        else yield { macro, args: splitArgs(rest) }
        break
      }
    }
  }

  /** Evaluates a condition as on a terminal that prints: `n` is true, `t` is not, and registers are 0. */
  private condition(macro: string, rest: string): { isTrue: boolean; body: string } {
    if (macro === 'el') return { isTrue: !(this.conditions.pop() ?? true), body: rest }
    const [, not = '', test = '', body = ''] =
      /^(!?)('[^']*'[^']*'|"[^"]*"[^"]*"|\([^)]*\)|[dr][ \t]*\S+|\S+)[ \t]*(.*)$/s.exec(rest) ?? []
    const words = compared(this.plain(test))
    const value = words ? words[0] === words[1] : test === 'n' || test === 'o' || /^[1-9]/.test(test)
    const isTrue = macro !== 'while' && value !== (not === '!')
    if (macro === 'ie') this.conditions.push(isTrue)
    return { isTrue, body }
  }

  /** Resolves the escapes in a text. */
  plain(text: string, depth = 0): string {
    if (!text.includes('\\')) return text
    return text.replace(escapes, (whole, ...groups) => {
      const { name, string } = groups.at(-1) as Record<string, string | undefined>
      if (name !== undefined)
        return glyph(
          name
            .replace(/^\[|\]$/g, '')
            .replace(/^C'|'$/g, '')
            .replace(/^\(/, ''),
        )
      if (string !== undefined) {
        const value = this.strings.get(string.replace(/^[[(]|\]$/g, '')) ?? ''
        return depth < MAX_CALLS ? this.plain(value, depth + 1) : ''
      }
      return single[whole] ?? ''
    })
  }
}

/** Escapes whose result is one character. All other escapes print nothing. */
const single: Readonly<Record<string, string>> = {
  '\\-': '-',
  '\\e': '\\',
  '\\\\': '\\',
  '\\ ': ' ',
  '\\~': ' ',
  '\\0': ' ',
  "\\'": '´',
  '\\`': '`',
  '\\.': '.',
  '\\_': '_',
  '\\t': '\t',
}

const escapes = new RegExp(
  [
    String.raw`\\(?<name>\((?!\s)[^\\]{2}|\[[^\]\\]*\]|C'[^']*')`,
    String.raw`\\\*(?<string>\([^\\]{2}|\[[^\]]*\]|[^\\[(])`,
    // Fonts, sizes, colours and registers have a name in one of three forms.
    String.raw`\\[fFgkmMnVY][+-]?(?:\(..|\[[^\]]*\]|[^\\[(])`,
    String.raw`\\s[+-]?(?:\([+-]?\d\d|\[[^\]]*\]|'[^']*'|[1-3]\d|\d)`,
    // Motions, lines and widths have an argument in quotes.
    String.raw`\\[ABDHLNRSXZbhlovwx](?:'[^']*'|"[^"]*")`,
    String.raw`\\[\s\S]`,
    String.raw`\\$`,
  ].join('|'),
  'g',
)

/** Index of the first line, from `start` on, that is only this macro; the number of lines if there is none. */
function endOf(lines: readonly string[], start: number, macro: string): number {
  let i = start
  while (i < lines.length && !(/^[.']/.test(lines[i] as string) && (lines[i] as string).slice(1).trim() === macro)) i++
  return i
}

/** The two texts of a test such as `'a'b'`; undefined for any other test. */
function compared(test: string): [string, string] | undefined {
  const mark = test[0]
  const [middle, last] = [mark === "'" || mark === '"' ? test.indexOf(mark, 1) : -1, test.length - 1]
  return middle > 0 && middle < last && test[last] === mark
    ? [test.slice(1, middle), test.slice(middle + 1, last)]
    : undefined
}

/** A line without its comment, and without a closing brace at its end; undefined if the line was only a comment. */
function withoutComment(line: string): string | undefined {
  if (/^[.'][ \t]*\\["#]/.test(line) || /^'''/.test(line)) return undefined
  const cut = line.replace(/(^|[^\\])((?:\\\\)*)\\["#].*$/, '$1$2')
  return cut === '' && line !== '' ? undefined : cut.replace(/^(.*?)\\\}[ \t]*$/, '$1')
}

/** Index of the last line of a conditional body that is skipped. */
function afterBlock(lines: readonly string[], start: number, body: string): number {
  const depthOf = (line: string): number => (line.match(/\\\{/g)?.length ?? 0) - (line.match(/\\\}/g)?.length ?? 0)
  let depth = depthOf(body)
  let i = start
  while (depth > 0 && ++i < lines.length) depth += depthOf(lines[i] as string)
  return i
}

/** Splits arguments at spaces. Arguments in double quotes may have spaces, and `""` in them is a quote. */
function splitArgs(rest: string): string[] {
  const found = rest.match(/"(?:[^"]|"")*"?|(?:\\ |\\\S|[^ \t\\])+/g) ?? []
  return found.map((arg) => (arg.startsWith('"') ? arg.replace(/^"|"$/g, '').replace(/""/g, '"') : arg))
}
