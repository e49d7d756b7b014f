/**
 * Routes in the form in which servers return them. Think of a file with one answer of a server on each line: the tokens
 * of a request, and an array [tokens, layers, choices] of the experts that they went to. Each line is a document.
 *
 * vLLM returns `token_ids` and `routed_experts` (with --enable-return-routed-experts): lists, or since version 0.22 a file
 * of NumPy in base64. SGLang returns `routed_experts` as base64 of int32 numbers alone. The last token of an answer was
 * not computed, so it may have no row. Layers without experts may have a column, whose numbers mean nothing.
 */
import { z } from 'zod'
import { formatValue } from '../../core/config/problems.ts'
import { RunError } from '../../core/errors.ts'
import { readLines } from '../system/jsonl.ts'
import { JSON_BYTES } from '../system/read-text.ts'
import { expectedExperts } from './check-row.ts'
import type { RecordedRouter } from './format.ts'
import { isNpy, readNpy, type WholeNumbers } from './npy.ts'

const ids = z.array(z.int().nonnegative())
/** Base64, or lists [tokens, layers, choices]. */
const experts = z.union([z.string(), z.array(z.unknown())])

const lineSchema = z.looseObject({
  /** Index of the document in the text. Default: the index of the line. */
  document: z.int().nonnegative().optional(),
  /** Position of the first token in the document; -1 if the request began with a token that the text does not have. */
  position: z.int().min(-1).default(0),
  /** The tokens of the request and of the answer. */
  prompt_token_ids: ids.nullish(),
  token_ids: ids.nullish(),
  /** Routes of the request, if the server returns them apart. */
  prompt_routed_experts: experts.nullish(),
  routed_experts: experts,
})

/** A line of a file that Choir writes. */
export interface ResponseLine {
  readonly document: number
  readonly name: string
  readonly position: number
  readonly token_ids: readonly number[]
  readonly routed_experts: string
}

/** A token with its experts. */
export interface AnsweredToken {
  readonly document: number
  readonly position: number
  readonly token: number
  /** The experts of all routers, one router after the other. */
  readonly experts: Int32Array
}

/** A router as its size determines choices. */
export type RouterSize = Pick<RecordedRouter, 'layer' | 'module' | 'experts' | 'prototypes' | 'choices'>

/** The routers whose experts are read. */
export interface AnsweredModel {
  readonly routers: readonly RouterSize[]
  /** Number of layers, with and without experts. */
  readonly layers: number
}

/**
 * Reads the tokens with routes of a file. Tokens whose experts are all -1 are skipped: the server has no routes of them.
 * @throws RunError naming the line and what is wrong with it
 */
export async function* readResponses(path: string, model: AnsweredModel): AsyncGenerator<AnsweredToken, void> {
  let number = 0
  let index = 0
  for await (const { text } of readLines(path, JSON_BYTES)) {
    const where = `${path}: line ${++number}`
    if (text === null) throw new RunError(`${where} is too long (expected one answer on each line)`)
    if (text.trim() === '') continue
    yield* tokensOfLine(parseLine(text, where), index++, model, where)
  }
  if (index === 0) throw new RunError(`${path} is empty (expected an answer with routed_experts on each line)`)
}

type Line = z.output<typeof lineSchema>

function parseLine(text: string, where: string): Line {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new RunError(`${where} is not JSON: ${text.slice(0, 80)} (expected an object of one line)`)
  }
  const parsed = lineSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new RunError(`${where}: invalid ${issue?.path.join('.') || 'contents'}: ${issue?.message}`)
}

function* tokensOfLine(
  { document, position, prompt_token_ids, token_ids, prompt_routed_experts, routed_experts }: Line,
  index: number,
  model: AnsweredModel,
  where: string,
): Generator<AnsweredToken, void> {
  const [prompt, answer] = [prompt_token_ids ?? [], token_ids ?? []]
  const tokens = [...prompt, ...answer]
  const parts = prompt_routed_experts
    ? [
        { name: 'prompt_routed_experts', value: prompt_routed_experts, tokens: prompt },
        { name: 'routed_experts', value: routed_experts, tokens: answer },
      ]
    : [{ name: 'routed_experts', value: routed_experts, tokens }]
  let from = 0
  for (const { name, value, tokens: own } of parts) {
    const field = `${where}: ${name}`
    const rows = rowsOf(arrayOf(value, own.length, model, field), own.length, model, field)
    for (const [row, experts] of rows.entries())
      if (experts)
        yield {
          document: document ?? index,
          position: position + from + row,
          token: tokens[from + row] as number,
          experts,
        }
    from += own.length
  }
}

/** The array of a field. SGLang's numbers have no shape, so it follows from the number of tokens. */
function arrayOf(
  value: string | unknown[],
  tokens: number,
  { routers, layers }: AnsweredModel,
  where: string,
): WholeNumbers {
  if (typeof value !== 'string') return fromLists(value, where)
  const bytes = Buffer.from(value, 'base64')
  if (isNpy(bytes)) return readNpy(bytes, where)
  const choices = routers[0]?.choices ?? 0
  for (const columns of [layers, routers.length])
    for (const rows of [tokens, tokens - 1])
      if (bytes.length === rows * columns * choices * 4) {
        const data = Int32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(i * 4))
        return { shape: [rows, columns, choices], data }
      }
  throw new RunError(
    `${where} is neither a file of NumPy in base64, nor the int32 numbers of ${tokens} tokens with ${choices} experts ` +
      `in each of ${routers.length} layers`,
  )
}

function fromLists(value: readonly unknown[], where: string): WholeNumbers {
  const shape: number[] = []
  for (let list: unknown = value; Array.isArray(list); list = list[0]) shape.push(list.length)
  const data: number[] = []
  const add = (item: unknown, depth: number): void => {
    const isList = Array.isArray(item)
    if (depth === shape.length ? !Number.isSafeInteger(item) : !isList || item.length !== shape[depth])
      throw new RunError(`${where}: the lists are of different lengths, or not of whole numbers`)
    if (isList) for (const inner of item) add(inner, depth + 1)
    else data.push(item as number)
  }
  add(value, 0)
  return { shape, data }
}

/** The experts of each row, one router after the other; null for a row of -1. */
function rowsOf(
  { shape, data }: WholeNumbers,
  tokens: number,
  { routers, layers }: AnsweredModel,
  where: string,
): (Int32Array | null)[] {
  const refuse = (what: string): never => {
    throw new RunError(`${where}: ${what}`)
  }
  const [rows = 0, columns = 0, choices = 0] = shape
  const expected = routers[0]?.choices ?? 0
  if (rows === 0 && tokens <= 1) return []
  if (shape.length !== 3) refuse(`the array has shape (${shape.join(', ')}) (expected tokens, layers, choices)`)
  if (rows !== tokens && rows !== tokens - 1)
    refuse(
      `the array has ${rows} rows (expected ${tokens}, the number of tokens of prompt_token_ids and token_ids, or one less)`,
    )
  if (columns !== routers.length && columns !== layers)
    refuse(
      `the array has ${columns} layers (expected ${routers.length}, the layers of the model with experts` +
        `${layers === routers.length ? '' : `, or ${layers}, all layers`})`,
    )
  if (choices !== expected)
    refuse(`the array has ${choices} experts for a token and layer (expected ${expected}, as the model chooses)`)
  return Array.from({ length: rows }, (_, row) => {
    const experts = new Int32Array(routers.length * choices)
    let missing = 0
    for (const [r, router] of routers.entries()) {
      const from = (row * columns + (columns === routers.length ? r : router.layer)) * choices
      const chosen = Array.from({ length: choices }, (_, k) => data[from + k] as number)
      if (chosen.every((expert) => expert === -1)) missing++
      else {
        const problem = expectedExperts(chosen, router)
        if (problem !== null)
          refuse(`row ${row}, layer ${router.layer} has ${formatValue(chosen)} (expected ${problem})`)
      }
      experts.set(chosen, r * choices)
    }
    if (missing > 0 && missing < routers.length) refuse(`row ${row} has routes of some layers only`)
    return missing > 0 ? null : experts
  })
}
