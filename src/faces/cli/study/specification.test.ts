/** Studies in files that are refused before anything runs. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadSpecification } from './specification.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-specification-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('a word is a built-in study, or a file with any ending', async () => {
  await expect(loadSpecification('licence', {})).rejects.toThrow('unknown study "licence"')
  await expect(loadSpecification('LICENSE', {})).rejects.toThrow('study LICENSE')
})

test('a study without arms is refused with its file, unless it is a search', async () => {
  const file = join(folder, 'mine.yaml')
  const search = 'search: { settings: { model.moe.k: { choices: [1, 2] } }, configurations: 2, minSteps: 10 }'
  await writeFile(file, `base: tiny\n${search}\n`)
  await expect(loadSpecification(file, {})).rejects.toThrow(`invalid study ${file}: it has no arms (give arms by name`)
  expect((await loadSpecification(file, { search: true })).search).toBeDefined()
  await writeFile(file, 'base: tiny\ngrid: { model.moe.k: [1, 2] }\n')
  expect((await loadSpecification(file, {})).arms).toEqual({})
})
