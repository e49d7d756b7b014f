import { expect, test } from 'vitest'
import { corpusNames } from '../../../train/data/sources/corpus.ts'
import { corpusFiles } from './corpora.ts'

test.each(corpusNames)('the documents of %s are in natural order', async (name) => {
  const files = (await corpusFiles(name))?.map(({ name }) => name) ?? []
  expect(files.length).toBeGreaterThan(100)
  expect(files).toEqual(files.toSorted(new Intl.Collator('en', { numeric: true }).compare))
})
