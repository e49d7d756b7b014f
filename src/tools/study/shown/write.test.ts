import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseLaw } from '../../law/law-file.ts'
import { readBuiltin } from '../grid/read-specification.ts'
import { mapStudy } from '../testing/map.ts'
import { studyOf } from '../testing/results.ts'
import { writeReport } from './write.ts'

const specification = await readBuiltin('m6t', 'quick')
let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'choir-report-'))
})
afterEach(() => rm(directory, { recursive: true }))

test('a report has the figures of its text, removes figures of an earlier report, and keeps other files', async () => {
  const arms = { base: {}, arm: { effect: -0.1 } }
  await writeReport(studyOf({ arms, view: 'capacity' }), specification, { directory })
  const before = await readdir(join(directory, 'figures'))
  await writeFile(join(directory, 'figures', 'own.svg'), 'of the user')
  await writeReport(studyOf({ arms, view: 'scale' }), specification, { directory })
  const after = (await readdir(join(directory, 'figures'))).filter((name) => name !== 'own.svg')
  const shown = (await readFile(join(directory, 'report.md'), 'utf8')).matchAll(/\(figures\/(.+?\.svg)\)/g)
  expect(after.sort()).toEqual([...shown].map(([, name]) => name).sort())
  expect(after).not.toEqual(before)
  expect(await readdir(join(directory, 'figures'))).toContain('own.svg')
})

test('a map with enough runs has a law.json, and a map with too few runs has none, also not that of an earlier report', async () => {
  const writeFew = () =>
    writeReport(
      mapStudy(({ arm }) => arm.endsWith('0')),
      specification,
      { directory },
    )
  await writeFew()
  expect(await readdir(directory)).not.toContain('law.json')
  await writeReport(mapStudy(), specification, { directory })
  const law = parseLaw(await readFile(join(directory, 'law.json'), 'utf8'))
  expect(law).toMatchObject({ study: 'test', experts: [2, 8], numerics: expect.any(Number) })
  await writeFew()
  expect(await readdir(directory)).not.toContain('law.json')
})

test('a report leaves the drafts of another process alone, and none of its own', async () => {
  const names = ['report.html', 'report.md', 'results.parquet', 'curves.parquet', 'study.yaml']
  const drafts = names.map((name) => `${name}.tmp`)
  for (const draft of drafts) await writeFile(join(directory, draft), 'of another process')
  await writeReport(studyOf({ arms: { base: {}, arm: { effect: -0.1 } } }), specification, { directory })
  expect((await readdir(directory)).filter((name) => name.endsWith('.tmp')).sort()).toEqual(drafts.sort())
  for (const draft of drafts) expect(await readFile(join(directory, draft), 'utf8')).toBe('of another process')
})
