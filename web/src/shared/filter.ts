/**
 * The language of the filter box. Terms are separated by spaces, and a run must match all of them.
 *
 *     big k2               words in the name, or in the path
 *     "two words"          including the space
 *     model.moe.k=2        a field of the configuration, or the end of its name: moe.k=2, k=2
 *     train.seed!=1        every run that `=` does not match, including runs without the field
 *     loss<3.5             also <= > >=
 *     state:running        `:` is the same as `=`
 *     name="my run"
 *
 * Text is compared case-insensitively; if both sides are numbers, they are compared as numbers.
 */
import type { RunSummary } from '../../../src/faces/watch/api.ts'

export type Operator = '=' | '!=' | '<' | '<=' | '>' | '>='

export type Term =
  | { readonly kind: 'word'; readonly word: string }
  | { readonly kind: 'field'; readonly field: string; readonly operator: Operator; readonly value: string }

export interface Filter {
  readonly terms: readonly Term[]
  /** A message about a term that is incomplete and therefore left out. */
  readonly problem: string | null
}

/** Fields of a run besides its configuration. */
const facts: Readonly<Record<string, (run: RunSummary) => string | number | null>> = {
  name: ({ name }) => name,
  path: ({ path }) => path,
  state: ({ state }) => state,
  kind: ({ kind }) => kind,
  step: ({ step }) => step,
  steps: ({ steps }) => steps,
  tokens: ({ tokens }) => tokens,
  loss: ({ loss }) => loss,
  held_out: ({ heldOutLoss }) => heldOutLoss,
  bits_per_byte: ({ bitsPerByte }) => bitsPerByte,
  tokens_per_second: ({ tokensPerSecond }) => tokensPerSecond,
}

// A term is text in quotes (the closing quote may be missing) or up to the next space, optionally after a field and an
// operator.
const term = /([^\s"=!<>:]+)(!=|<=|>=|[=<>:])(?:"([^"]*)("?)|(\S*))|"([^"]*)("?)|(\S+)/g

export function parseFilter(text: string): Filter {
  const terms: Term[] = []
  let problem: string | null = null
  for (const [all, field, operator, quoted, closing, plain, words, wordsClosing, word] of text.matchAll(term)) {
    if (closing === '' || wordsClosing === '') problem ??= `${all} lacks its closing quote`
    if (field === undefined || operator === undefined) {
      const nameWord = words ?? word ?? ''
      if (nameWord !== '') terms.push({ kind: 'word', word: nameWord })
      continue
    }
    const value = quoted ?? plain ?? ''
    if (value === '' && quoted === undefined) problem ??= `${all} lacks a value, as in ${field}${operator}2`
    else terms.push({ kind: 'field', field, operator: operator === ':' ? '=' : (operator as Operator), value })
  }
  return { terms, problem }
}

export function matches(run: RunSummary, { terms }: Filter): boolean {
  return terms.every((each) => {
    if (each.kind === 'word')
      return [run.name, run.path].some((text) => text.toLowerCase().includes(each.word.toLowerCase()))
    const values = valuesOf(run, each.field)
    if (each.operator === '!=') return !values.some((value) => compare(value, '=', each.value))
    return values.some((value) => compare(value, each.operator, each.value))
  })
}

/** Fields that no run has, probably misspelt. */
export function unknownFields({ terms }: Filter, runs: readonly RunSummary[]): readonly string[] {
  const fields = terms.flatMap((each) => (each.kind === 'field' ? [each.field] : []))
  return fields.filter((field) => !Object.hasOwn(facts, field) && !runs.some((run) => valuesOf(run, field).length > 0))
}

function valuesOf(run: RunSummary, field: string): readonly string[] {
  const fact = Object.hasOwn(facts, field) ? facts[field]?.(run) : undefined
  if (fact !== undefined) return fact === null ? [] : [String(fact)]
  if (Object.hasOwn(run.config, field)) return [String(run.config[field])]
  const end = `.${field}`
  return Object.keys(run.config)
    .filter((path) => path.endsWith(end))
    .map((path) => String(run.config[path]))
}

function compare(value: string, operator: Operator, wanted: string): boolean {
  const numbers =
    value.trim() !== '' && wanted.trim() !== '' && ![value, wanted].some((side) => Number.isNaN(Number(side)))
  const [left, right] = numbers ? [Number(value), Number(wanted)] : [value.toLowerCase(), wanted.toLowerCase()]
  switch (operator) {
    case '=':
      return left === right
    case '!=':
      return left !== right
    case '<':
      return numbers && left < right
    case '<=':
      return numbers && left <= right
    case '>':
      return numbers && left > right
    case '>=':
      return numbers && left >= right
  }
}
