/** Reads YAML, and so JSON, that a user wrote. The package is loaded when needed: a preset alone needs no parser. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { CST, Document } from 'yaml'
import { expectPlain, MAX_DEPTH } from '../../core/config/plain.ts'
import { UsageError } from '../../core/errors.ts'
import { placeOf } from '../../core/text/json.ts'
import { bytes, grouped } from '../../core/text/numbers.ts'

const yaml = (): typeof import('yaml') => createRequire(import.meta.url)('yaml')

/** Whether a word that may also be a known name is meant as the path of a YAML or JSON file. */
export const isYamlPath = (word: string): boolean => /[\\/]|\.(ya?ml|json)$/i.test(word) || existsSync(word)

/** Limits far above what a person writes: a larger file must be of another kind. */
const MAX_CHARACTERS = 4e6
const MAX_VALUES = 10_000

/**
 * Parses the contents of a file.
 * @param file Name of the file in messages.
 * @param prefix Beginning of messages, e.g. `cannot read study`.
 * @throws UsageError with the line and column of the first fault, or the reason why the contents are no plain values
 */
export function readYaml(text: string, file: string, prefix = 'cannot read'): unknown {
  const refuse = (reason: string) => new UsageError(`${prefix} ${file}: ${reason}`)
  if (text.includes('\0')) throw refuse('it is a binary file (expected YAML or JSON)')
  if (text.length > MAX_CHARACTERS)
    throw refuse(`it has ${bytes(text.length)} (expected YAML or JSON of at most ${bytes(MAX_CHARACTERS)})`)
  const content = parse(text, (reason, position) =>
    refuse(position === null ? reason : `${placeOf(text, position)}: ${reason}`),
  )
  expectPlain(content, file)
  return content
}

/** Parses the value of an assignment: a quoted text, or a collection in one line. @throws UsageError from `refuse` */
export function readYamlValue(text: string, refuse: (reason: string) => UsageError): unknown {
  const content = parse(text, (reason, position) =>
    refuse(position === null ? reason : `column ${position + 1} of the value: ${reason}`),
  )
  expectPlain(content, 'value')
  return content
}

/** A number, true, false or null as YAML writes it; the text itself for everything else. */
export function readYamlScalar(text: string): unknown {
  const { isScalar, parseDocument } = yaml()
  // A text that begins like `- - -` may be nested too deeply to be parsed, and is no scalar.
  if (excessOf(text)) return text
  const document = parseDocument(text, options)
  const node = document.contents
  return document.errors.length === 0 && isScalar(node) && node.source === text ? node.value : text
}

const options = { prettyErrors: false, logLevel: 'error' } as const

/** A message with tags as they stand in a file: `!!js` is short for the name that the package reports. */
const withShortTag = (message: string): string => message.replace('tag:yaml.org,2002:', '!!')

type Refuse = (reason: string, position: number | null) => UsageError

function parse(text: string, refuse: Refuse): unknown {
  const fault = excessOf(text)
  if (fault !== null) throw refuse(fault.reason, fault.position)
  try {
    const document = yaml().parseDocument(text, options)
    // A warning is about an unknown tag: the value would differ from what its writer meant.
    const problem = document.errors[0] ?? document.warnings[0]
    if (problem) throw refuse(withShortTag(problem.message), problem.pos[0])
    const inside = aliasInsideItself(document)
    if (inside !== null) throw refuse(`*${inside} is inside of what it refers to`, null)
    return document.toJS()
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw refuse((error as Error).message, null)
  }
}

/**
 * The reason and the place if a text is nested too deeply or has too many values; null if not. This uses the first pass
 * of the package, which is linear and has no recursion. The second pass compares the keys of a map with each other, and
 * recurs: V8 aborts the process if it compiles a regular expression when the stack is nearly full.
 */
function excessOf(text: string): { readonly reason: string; readonly position: number } | null {
  const { Parser } = yaml()
  const left: { readonly token: CST.Token; readonly depth: number }[] = []
  const add = (token: CST.Token | null | undefined, depth: number) => {
    if (token) left.push({ token, depth })
  }
  let values = 0
  for (const token of new Parser().parse(text)) add(token, 0)
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { token, depth } = next
    if (depth > MAX_DEPTH) return { reason: `it is nested more than ${MAX_DEPTH} deep`, position: token.offset }
    if (token.type === 'document') add(token.value, depth)
    if (!('items' in token)) continue
    values += token.items.length
    if (values > MAX_VALUES)
      return { reason: `it has more than ${grouped(MAX_VALUES)} values (no configuration has)`, position: token.offset }
    for (const { key, value } of token.items) {
      add(key, depth + 1)
      add(value, depth + 1)
    }
  }
  return null
}

/** The name of an alias inside of the value that it refers to, so that the value would have no end; null if none is. */
function aliasInsideItself(document: Document): string | null {
  let found: string | null = null
  const { visit } = yaml()
  visit(document, {
    Alias(_, alias, path) {
      const target = alias.resolve(document)
      if (target === undefined || !path.includes(target)) return undefined
      found = alias.source
      return visit.BREAK
    },
  })
  return found
}
