import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { randomFor } from '../../core/random.ts'
import { temporaryFolder } from '../data/testing/temporary-folder.ts'
import type { RowFormat } from './files.ts'
import type { RoutedToken } from './format.ts'
import { readRoutes } from './read-routes.ts'
import { madeRouter, writeMade } from './testing/made-record.ts'

const { make } = temporaryFolder()
const random = randomFor(5, 'record')
const routers = [
  madeRouter({ layer: 1, choices: 2 }),
  madeRouter({ layer: 1, module: 'output', prototypes: 2, choices: 2, capacity: 3 }),
]

const texts = ['é', '\\n', '"quoted"', ' the', '<0xE2>']

/** A token whose numbers are float32 numbers that need all of their digits. */
const token = (i: number): RoutedToken => ({
  document: 3 * Math.floor(i / 40),
  position: i % 40,
  token: 199 * (i % 5),
  text: texts[i % 5] as string,
  routes: [
    { experts: [i % 4, (i + 1) % 4], gates: gates(), entropy: Math.fround(Math.log(4) / 3), dropped: [] },
    { experts: [i % 2, 2 + (i % 2)], gates: gates(), entropy: null, dropped: i % 7 === 0 ? [i % 2] : [] },
  ],
})
const gates = () => [Math.fround(random.integer(1e9) / 1e9), Math.fround(1e-6 / 3)]

async function read(folder: string): Promise<RoutedToken[]> {
  const { tokens } = await readRoutes(folder)
  const all: RoutedToken[] = []
  for await (const { routes, ...token } of tokens()) {
    // JSON has the digits that give a float32 number back.
    const own = routes.map(({ experts, gates, entropy, dropped }) => ({
      experts,
      gates: gates.map(Math.fround),
      entropy: entropy === null ? null : Math.fround(entropy),
      dropped,
    }))
    all.push({ ...token, routes: own })
  }
  return all
}

test.each<RowFormat>(['jsonl', 'parquet'])('%s: what is read is what was written, to the last bit', async (format) => {
  const tokens = Array.from({ length: 200 }, (_, i) => token(i))
  const folder = await writeMade(join(make(), 'record'), { routers, tokens }, format)
  expect(await read(folder)).toEqual(tokens)
  const { header } = await readRoutes(folder)
  expect(header.documents.map(({ document, tokens }) => [document, tokens])).toEqual(
    [0, 3, 6, 9, 12].map((d) => [d, 40]),
  )
})

test('a row of JSON has the documented fields', async () => {
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: [token(0)] })
  const [first = ''] = readFileSync(join(folder, 'routes.jsonl'), 'utf8').split('\n')
  expect(Object.keys(JSON.parse(first))).toEqual([
    'document',
    'position',
    'token',
    'text',
    'layer',
    'module',
    'experts',
    'gates',
    'entropy',
    'dropped',
  ])
})

test('more tokens than a row group are read from several of them', async () => {
  const many = Array.from({ length: 33_000 }, (_, i): RoutedToken => ({ ...token(0), document: 0, position: i }))
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: many }, 'parquet')
  const { tokens } = await readRoutes(folder)
  let next = 0
  for await (const { position } of tokens()) if (position !== next++) throw new Error(`${position} out of order`)
  expect(next).toBe(33_000)
})

const damaged: [string, (line: string) => string, RegExp][] = [
  [
    'an expert that does not exist',
    (l) => l.replace(/"experts":\[\d/, '"experts":[7'),
    /row 1: invalid experts: \[7,1\] \(expected 2 different experts from 0 to 3\)/,
  ],
  ['an expert twice', (l) => l.replace(/"experts":\[\d,\d/, '"experts":[1,1'), /row 1: invalid experts: \[1,1\]/],
  ['too few gates', (l) => l.replace(/"gates":\[[^,]*,/, '"gates":['), /row 1: invalid gates: .*expected 2 numbers/],
  ['a layer out of order', (l) => l.replace('"layer":1', '"layer":2'), /row 1: invalid layer: 2 \(expected 1, in/],
  ['a token beyond the vocabulary', (l) => l.replace(/"token":\d+/, '"token":1000'), /invalid token: 1000 .*0 to 999/],
  ['an unknown document', (l) => l.replace('"document":0', '"document":1'), /invalid document: 1/],
  ['a position that is no number', (l) => l.replace('"position":0', '"position":null'), /invalid position: null/],
  ['a refusal of an expert that was not chosen', (l) => l.replace('"dropped":[]', '"dropped":[3]'), /invalid dropped/],
  ['no JSON', () => '{"document":', /line 1 is not JSON/],
]

test.each(damaged)('%s is refused, with the row and the field', async (_, change, message) => {
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: [token(0), token(5)] })
  const file = join(folder, 'routes.jsonl')
  const [first = '', ...rest] = readFileSync(file, 'utf8').split('\n')
  writeFileSync(file, [change(first), ...rest].join('\n'))
  await expect(read(folder)).rejects.toThrow(message)
})

test('the rows of a token belong together', async () => {
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: [token(0), token(5)] })
  const file = join(folder, 'routes.jsonl')
  const [first, , , other] = readFileSync(file, 'utf8').split('\n')
  writeFileSync(file, [first, other].join('\n'))
  await expect(read(folder)).rejects.toThrow(/row 2: invalid position: 5 \(expected 0, as in the first row/)
})

test('experts of another prototype are refused', async () => {
  const [, second] = routers
  const wrong = { ...token(0), routes: [{ experts: [2, 0], gates: [0.5, 0.5], entropy: 1, dropped: [] }] }
  const folder = await writeMade(join(make(), 'record'), { routers: [second as (typeof routers)[0]], tokens: [wrong] })
  await expect(read(folder)).rejects.toThrow(/invalid experts: \[2,0\] .*each of the 2 prototypes/)
})

test('a file that lacks rows, or has more, is refused', async () => {
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: [token(0), token(5)] })
  const file = join(folder, 'routes.jsonl')
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.slice(0, text.lastIndexOf('{')))
  await expect(read(folder)).rejects.toThrow(/has 3 rows, but routes\.json describes 4: 2 tokens of 2 routers/)
  writeFileSync(file, text + text)
  await expect(read(folder)).rejects.toThrow(/has more rows/)
})

test('a description that is missing, damaged or of a later version is refused', async () => {
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: [token(0)] })
  const file = join(folder, 'routes.json')
  const header = JSON.parse(readFileSync(file, 'utf8'))
  const withHeader = (value: unknown) => {
    writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value))
    return readRoutes(folder)
  }
  await expect(readRoutes(make())).rejects.toThrow(/has no routes\.json \(expected a folder that choir routing wrote\)/)
  await expect(withHeader('{')).rejects.toThrow(/routes\.json is not JSON/)
  await expect(withHeader({ ...header, format: 2 })).rejects.toThrow(/has format 2, and this version .* up to 1/)
  await expect(withHeader({ ...header, routers: [] })).rejects.toThrow(/invalid routers/)
  await expect(withHeader({ ...header, tokens: -1 })).rejects.toThrow(/invalid tokens/)
  await expect(withHeader({ ...header, file: '../elsewhere' })).rejects.toThrow(/invalid file/)
  await expect(withHeader({ ...header, file: 'routes.parquet' })).rejects.toThrow(/routes\.parquet, which is not there/)
})

test('a damaged Parquet file is refused', async () => {
  const folder = await writeMade(join(make(), 'record'), { routers, tokens: [token(0)] }, 'parquet')
  writeFileSync(join(folder, 'routes.parquet'), readFileSync(join(folder, 'routes.parquet')).subarray(0, 100))
  await expect(read(folder)).rejects.toThrow(/routes\.parquet cannot be read as Parquet/)
})
