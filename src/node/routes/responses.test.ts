/** Answers of servers, as vLLM and SGLang write them, and as they must not be. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Route, RoutedToken } from './format.ts'
import { readNpy, writeNpy } from './npy.ts'
import { readResponses } from './responses.ts'
import { madeRouter, writeMade } from './testing/made-record.ts'
import { writeResponses } from './write-responses.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-responses-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A model of four layers, of which the second and the last have experts. */
const routers = [madeRouter({ layer: 1, experts: 9, choices: 2 }), madeRouter({ layer: 3, experts: 9, choices: 2 })]
const model = { routers, layers: 4 }

let files = 0
async function read(...lines: unknown[]) {
  const path = join(folder, `answers-${files++}.jsonl`)
  writeFileSync(path, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'))
  const tokens: [document: number, position: number, token: number, experts: number[]][] = []
  for await (const { document, position, token, experts } of readResponses(path, model))
    tokens.push([document, position, token, [...experts]])
  return tokens
}

/** Three tokens: experts of both layers. */
const rows = [
  [
    [0, 1],
    [2, 3],
  ],
  [
    [4, 0],
    [1, 8],
  ],
  [
    [5, 6],
    [7, 0],
  ],
]
const npy = (shape: number[], numbers: readonly number[]) =>
  Buffer.from(writeNpy(shape, Int32Array.from(numbers))).toString('base64')
const raw = (numbers: readonly number[]) => Buffer.from(Int32Array.from(numbers).buffer).toString('base64')
/** The same rows with columns for the layers without experts, which have other numbers. */
const wide = rows.map(([a, b]) => [[99, 99], a, [0, 0], b])
const read3 = rows.map((row, t) => [0, t, 11 + t, row.flat()])

describe('routes are read', () => {
  test('as lists, as a file of NumPy, and as numbers, of the layers with experts or of all layers', async () => {
    const values = [
      rows,
      wide,
      npy([3, 2, 2], rows.flat(2)),
      npy([3, 4, 2], wide.flat(2) as number[]),
      raw(rows.flat(2)),
      raw(wide.flat(2) as number[]),
    ]
    for (const routed_experts of values) expect(await read({ token_ids: [11, 12, 13], routed_experts })).toEqual(read3)
  })

  test('of requests and answers, whose last token was not computed', async () => {
    for (const routed_experts of [rows, npy([3, 2, 2], rows.flat(2)), raw(rows.flat(2))])
      expect(await read({ prompt_token_ids: [11, 12], token_ids: [13, 14], routed_experts })).toEqual(read3)
    expect(
      await read({
        prompt_token_ids: [11, 12],
        token_ids: [13],
        prompt_routed_experts: rows.slice(0, 2),
        routed_experts: rows.slice(2),
      }),
    ).toEqual(read3)
  })

  test('of a document on each line, or of the named one, from the named position', async () => {
    const [first, second] = [rows[0] as number[][], rows[1] as number[][]]
    expect(
      await read(
        { token_ids: [7], routed_experts: [first] },
        '',
        { token_ids: [8], routed_experts: [second] },
        { document: 9, position: 5, token_ids: [6], routed_experts: [first] },
        { position: -1, token_ids: [1, 4], routed_experts: [second, first] },
      ),
    ).toEqual([
      [0, 0, 7, first.flat()],
      [1, 0, 8, second.flat()],
      [9, 5, 6, first.flat()],
      [3, -1, 1, second.flat()],
      [3, 0, 4, first.flat()],
    ])
  })

  test('but for tokens whose experts the server does not have', async () => {
    const none = [
      [-1, -1],
      [-1, -1],
    ]
    const found = await read({ token_ids: [11, 12, 13], routed_experts: [rows[0], none, rows[2]] })
    expect(found).toEqual([read3[0], read3[2]])
    await expect(
      read({
        token_ids: [1],
        routed_experts: [
          [
            [-1, -1],
            [0, 1],
          ],
        ],
      }),
    ).rejects.toThrow(/line 1: routed_experts: row 0 has routes of some layers only/)
  })
})

const big = [
  [0, 1],
  [2, 9],
]
const cases: [string, unknown, RegExp][] = [
  ['an expert that is not there', [big], /row 0, layer 3 has \[2,9\] \(expected 2 different experts from 0 to 8\)/],
  [
    'an expert twice',
    [
      [
        [3, 3],
        [0, 1],
      ],
    ],
    /row 0, layer 1 has \[3,3\] \(expected 2 different/,
  ],
  ['too many rows', rows, /has 3 rows \(expected 1, the number of tokens .*, or one less\)/],
  ['another number of layers', [[[0, 1]]], /has 1 layers \(expected 2, .* with experts, or 4, all layers\)/],
  ['another number of experts', [[[0], [1]]], /has 1 experts for a token and layer \(expected 2, as the model chooses/],
  ['an array of two dimensions', [[0, 1]], /shape \(1, 2\) \(expected tokens, layers, choices\)/],
  ['lists of different lengths', [[[0, 1], [2]]], /lists are of different lengths/],
  [
    'fractions',
    [
      [
        [0, 1],
        [2, 0.5],
      ],
    ],
    /not of whole numbers/,
  ],
  [
    'half of a file',
    npy([1, 2, 2], [0, 1, 2, 3]).slice(0, 180),
    /bytes follow the header, and shape \(1, 2, 2\) has 16/,
  ],
  ['numbers of another size', raw([0, 1, 2]), /neither a file of NumPy in base64, nor the int32 numbers of 1 tokens/],
  ['nothing', null, /line 1: invalid routed_experts/],
]

test.each(cases)('%s is refused', async (_, routed_experts, message) => {
  await expect(read({ token_ids: [5], routed_experts })).rejects.toThrow(message)
})

test('a file that is no answers is refused', async () => {
  await expect(read('[')).rejects.toThrow(/line 1 is not JSON: \[ \(expected an object of one line/)
  await expect(read('{}', '')).rejects.toThrow(/line 1: invalid routed_experts/)
  await expect(read('')).rejects.toThrow(/is empty \(expected an answer with routed_experts on each line/)
  await expect(read({ token_ids: [-1], routed_experts: rows })).rejects.toThrow(/line 1: invalid token_ids\.0/)
})

describe('a record is written', () => {
  const route = (...experts: number[]): Route => ({ experts, gates: [0.5, 0.2], entropy: 1, dropped: [] })
  const token = (document: number, position: number, a: number, b: number): RoutedToken => ({
    document,
    position,
    token: 100 * document + position,
    text: 'x',
    routes: [route(a, b), route(b, a)],
  })
  // In the order of a recording, with a gap in the second document.
  const tokens = [token(1, 4, 0, 8), token(0, 1, 1, 2), token(1, 3, 3, 4), token(0, 0, 5, 6), token(1, 7, 7, 0)]

  test('as the routes of its documents, and read as the same routes', async () => {
    const record = await writeMade(join(folder, 'record'), { routers, tokens })
    const file = join(folder, 'written.jsonl')
    expect(await writeResponses(record, file)).toBe(3)
    const lines = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { position: number; token_ids: number[]; routed_experts: string })
    expect(lines).toMatchObject([
      { document: 0, name: 'text/0.txt', position: 0, token_ids: [0, 1] },
      { document: 1, name: 'text/1.txt', position: 3, token_ids: [103, 104] },
      { document: 1, name: 'text/1.txt', position: 7, token_ids: [107] },
    ])
    const array = readNpy(Buffer.from(lines[0]?.routed_experts ?? '', 'base64'), 'array')
    expect(array.shape).toEqual([2, 2, 2])
    expect(Array.from(array.data)).toEqual([5, 6, 6, 5, 1, 2, 2, 1])
    const found = []
    for await (const { experts, ...rest } of readResponses(file, model)) found.push({ ...rest, experts: [...experts] })
    const expected = tokens
      .map(({ document, position, token, routes }) => ({
        document,
        position,
        token,
        experts: routes.flatMap(({ experts }) => experts),
      }))
      .sort((a, b) => a.document - b.document || a.position - b.position)
    expect(found).toEqual(expected)
    await expect(writeResponses(record, file)).rejects.toThrow(/^invalid export: .* exists \(expected a new file\)/)
  })

  test('only if every token has as many experts, one router in a layer', async () => {
    const refused = async (name: string, changed: Parameters<typeof madeRouter>[0]) => {
      const record = await writeMade(join(folder, name), {
        routers: routers.map((router) => ({ ...router, ...changed })),
        tokens,
      })
      return expect(writeResponses(record, join(folder, `${name}.jsonl`))).rejects
    }
    await (await refused('chosen', { choices: null })).toThrow(
      /^invalid export: the experts of the record choose tokens/,
    )
    await (await refused('attention', { module: 'qkv' })).toThrow(
      /^invalid export: the record has experts in attention/,
    )
  })
})
