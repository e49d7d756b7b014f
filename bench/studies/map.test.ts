/** The comparison of predictions with results as a shell runs it, on docs/results/map. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Coverage } from '../../src/tools/study/analysis/map/predictions.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-map-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** What `coverage` prints for predictions of the means of two seeds, and what it writes. */
async function coverage(name: string, ...flags: string[]) {
  const out = join(folder, name)
  const files = ['docs/results/map/predictions.json', 'docs/results/map']
  const command = ['--import', 'tsx', 'bench/studies/map.ts', 'coverage', ...files, '--out', out, ...flags]
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: root })
  return { stdout, found: JSON.parse(await readFile(out, 'utf8')) as Coverage & { cellsWithOtherSeeds: number } }
}

test('cells with another number of seeds than was predicted for are counted, and the first seeds alone can be compared', async () => {
  const [all, first] = await Promise.all([coverage('all.json'), coverage('first.json', '--seeds', '2')])
  // The arms at 0.3 M have got two further seeds since the prediction.
  expect(all.found.cells.filter(({ active }) => active < 500_000).map(({ pairs }) => pairs)).toEqual(Array(12).fill(4))
  expect(all.found.cellsWithOtherSeeds).toBeGreaterThanOrEqual(12)
  expect(all.stdout).toContain(
    `${all.found.cellsWithOtherSeeds} of 24 cells are measured with another number of seeds than the interval was made for`,
  )
  expect(first.found.cells.map(({ pairs }) => pairs)).toEqual(Array(24).fill(2))
  expect(first.found.cellsWithOtherSeeds).toBe(0)
  expect(first.stdout).not.toContain('another number of seeds')
})
