/**
 * Regular expressions are used on text of strangers: names, messages, manuals. So each must take time in proportion to
 * the text. A repetition that may begin at every place of a run of characters, or two repetitions that share a run,
 * take time in proportion to the square of its length.
 *
 * @slow
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..', 'src')
const LENGTH = 40_000
/** Twenty times the processor time of the slowest expression; quadratic time would be many seconds. */
const LIMIT_MS = 700

/** The regular expressions in a file, by their place. */
function expressionsIn(name: string): [place: string, literal: string][] {
  const file = ts.createSourceFile(name, readFileSync(join(root, name), 'utf8'), ts.ScriptTarget.Latest, true)
  const found: [string, string][] = []
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart())
      found.push([`src/${name}:${line + 1}`, node.text])
    }
    node.forEachChild(visit)
  }
  visit(file)
  return found
}

const isSource = (name: string) => /\.ts$/.test(name) && !/\.test\.ts$|testing\/|wasm\/assembly\//.test(name)
const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'))
const expressions = names.filter(isSource).flatMap(expressionsIn)
const repeating = expressions.filter(([, literal]) => /[*+]|\d,\}/.test(literal.replace(/\\.|\[[^\]]*\]/g, '')))

/** Texts that begin to match at many places, and match at none. */
function* hardTexts(source: string): Generator<string> {
  const own = source.replace(/\\[a-zA-Z]/g, '').replace(/[\^$|?*+(){}\\]/g, '')
  const characters = [...new Set(['a', 'e', ' ', '\n', '0', '-', '.', '\\', ...own.slice(0, 40)])]
  for (const character of characters)
    for (const [before, after] of [
      ['', '\x01'],
      [own[0] ?? 'a', ' x'],
      [own.at(-1) ?? 'a', '\u2028'],
    ])
      yield before + character.repeat(LENGTH) + after
  for (const first of characters.slice(0, 12))
    for (const second of characters.slice(0, 6))
      if (first !== second) yield `${(first + second).repeat(LENGTH / 2)}\x01`
}

test('there are regular expressions to test', () => {
  expect(repeating.length).toBeGreaterThan(100)
})

test.each(repeating)('%s: %s takes time in proportion to the text', (_, literal) => {
  const end = literal.lastIndexOf('/')
  const expression = new RegExp(literal.slice(1, end), `${literal.slice(end + 1).replace(/[gy]/g, '')}g`)
  for (const text of hardTexts(expression.source)) {
    // On a busy machine a process waits, which says nothing about the expression.
    const began = process.cpuUsage()
    text.replace(expression, '')
    const { user, system } = process.cpuUsage(began)
    expect((user + system) / 1000, JSON.stringify(text.slice(0, 6))).toBeLessThan(LIMIT_MS)
  }
})
