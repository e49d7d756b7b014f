/** Records that tests make up: any choices for any tokens, in the files of a real record. */
import { writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { HEADER_FILE, type RowFormat, rowFile } from '../files.ts'
import { FORMAT, type RecordedDocument, type RecordedRouter, type RoutedToken, type RoutesHeader } from '../format.ts'
import { openRowWriter } from '../write-rows.ts'

export const madeRouter = (router: Partial<RecordedRouter>): RecordedRouter => ({
  layer: 0,
  module: 'ffn',
  experts: 4,
  prototypes: 1,
  choices: 1,
  capacity: null,
  ...router,
})

export interface Made {
  readonly routers: readonly RecordedRouter[]
  readonly tokens: readonly RoutedToken[]
  /** Domain of each document; default: `text`. */
  readonly domainOf?: (document: number) => string
  readonly vocabulary?: number
}

export function madeHeader({ routers, tokens, domainOf = () => 'text', vocabulary = 1000 }: Made): RoutesHeader {
  const counts = new Map<number, number>()
  for (const { document } of tokens) counts.set(document, (counts.get(document) ?? 0) + 1)
  const documents = [...counts]
    .sort(([a], [b]) => a - b)
    .map(([document, tokens]): RecordedDocument => {
      const domain = domainOf(document)
      return { document, name: `${domain}/${document}.txt`, domain, tokens }
    })
  return {
    kind: 'routes',
    format: FORMAT,
    program: 'a test',
    model: {
      directory: 'runs/made',
      step: 3,
      weights: 'float32',
      engine: { provider: 'none', math: 'float32', threads: 1 },
      config: {},
    },
    tokenizer: { vocabulary, sha256: 'none' },
    text: { source: 'made', hash: 'none', documents: documents.length, tokens: tokens.length },
    capacity: 'none',
    loss: 2,
    routers: [...routers],
    tokens: tokens.length,
    file: 'routes.jsonl',
    documents,
  }
}

/** Writes a record into a new folder. */
export async function writeMade(folder: string, made: Made, format: RowFormat = 'jsonl'): Promise<string> {
  await mkdir(folder, { recursive: true })
  const writer = await openRowWriter(join(folder, rowFile(format)), format, made.routers)
  for (const token of made.tokens) await writer.add(token)
  await writer.end()
  writeFileSync(join(folder, HEADER_FILE), JSON.stringify({ ...madeHeader(made), file: rowFile(format) }))
  return folder
}
