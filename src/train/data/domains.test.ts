import { expect, test } from 'vitest'
import { domainPath, domainsOf } from './domains.ts'

/** The domain of each document, by its name. */
function named(...documents: string[]): Record<string, string | undefined> {
  const domains = domainsOf(new Set(documents.map(domainPath)))
  return Object.fromEntries(documents.map((name) => [name, domains.get(domainPath(name))]))
}

test('records have the domain of their file, whatever its format', () => {
  expect(
    named('kernel.jsonl:1', 'kernel.jsonl:20', 'rust.jsonl.gz:3', 'web.parquet:row 7', 'notes.v2.json[0]'),
  ).toEqual({
    'kernel.jsonl:1': 'kernel',
    'kernel.jsonl:20': 'kernel',
    'rust.jsonl.gz:3': 'rust',
    'web.parquet:row 7': 'web',
    'notes.v2.json[0]': 'notes.v2',
  })
})

test('the files of a folder have its name as domain; files outside folders have no domain', () => {
  expect(named('law/a.txt', 'law/old/b.txt', 'prose/c.txt#2', 'README')).toEqual({
    'law/a.txt': 'law',
    'law/old/b.txt': 'law',
    'prose/c.txt#2': 'prose',
    README: 'other',
  })
})

test('folders that all documents share are not domains', () => {
  expect(named('../corpora/choir/kernel.jsonl:1', '../corpora/choir/rust.jsonl:1')).toEqual({
    '../corpora/choir/kernel.jsonl:1': 'kernel',
    '../corpora/choir/rust.jsonl:1': 'rust',
  })
  expect(named('sotu/1790_Washington', 'sotu/1791_Washington')).toEqual({
    'sotu/1790_Washington': 'other',
    'sotu/1791_Washington': 'other',
  })
  expect(named('sotu/1790_Washington', 'moby-dick/chapter_1')).toEqual({
    'sotu/1790_Washington': 'sotu',
    'moby-dick/chapter_1': 'moby-dick',
  })
})

test('numbered parts of a file are one domain', () => {
  expect(new Set(Object.values(named('web-00000-of-00002.parquet:row 1', 'web-00001-of-00002.parquet:row 1')))).toEqual(
    new Set(['web']),
  )
  expect(named('2020.jsonl:1', '2021.jsonl:1')).toEqual({ '2020.jsonl:1': '2020', '2021.jsonl:1': '2021' })
})
